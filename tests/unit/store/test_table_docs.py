from cappuccino.store.table_docs import render


def test_the_page_shows_every_table_with_its_columns_and_tests(schema):
    page = render(schema)
    assert [line for line in page.splitlines() if line.startswith("#")] == [
        "# Tables",
        "## features",
        "### features.features",
        "## lab",
        "### lab.daily",
        "## market",
        "### market.bars",
        "### market.last_close",
    ]
    section = page[page.index("### market.bars") : page.index("\n### market.last_close")]
    assert section == (
        "### market.bars\n\n"
        "Bars as the source gave them.\n\n"
        "*contract; one row per symbol and open*\n\n"
        "| column | type | meaning |\n|---|---|---|\n"
        "| `symbol` | varchar, not null | Traded pair. |\n"
        "| `opened_at_utc` | timestamp, not null | Open of the bar. |\n"
        "| `close` | double, not null | Last price. |\n"
        "| `volume` | double | Traded amount. |\n\n"
        "Primary key: `symbol`, `opened_at_utc`\n\n"
        "Tests: `not_null(symbol)`, `not_null(close)`, `unique(symbol, opened_at_utc)`, `positive(close)`, "
        "`accepted(symbol)`, `expression(volume >= 0)`\n"
    )


def test_the_page_says_what_a_model_reads_and_that_a_table_grows(schema):
    page = render(schema)
    assert "Reads: `market.bars`, `market.last_close`" in page
    assert "*model, table; one row per day*" in page
    assert page.count("Further `DOUBLE` columns") == 1


def test_equal_schemas_give_equal_pages(schema):
    assert render(schema) == render(schema)
