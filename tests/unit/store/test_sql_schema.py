import pytest

from cappuccino.errors import ContractError
from cappuccino.store.schema import Schema

VIEW = "/*\ndescription: d\ngrain: g\ncolumns: {a: A.}\n*/\n"


def header(**changes):
    parts = {"description": "d", "grain": "g", "columns": "{a: A.}"} | changes
    lines = "\n".join(f"{key}: {value}" for key, value in parts.items() if value is not None)
    return f"/*\n{lines}\n*/\nselect 1 as a"


def test_contracts_come_first_and_models_after_what_they_read(schema):
    order = [file.full_name for file in schema.files]
    assert order == ["features.features", "market.bars", "market.last_close", "lab.daily"]
    assert set(schema.contracts) == {"market.bars", "features.features"}
    assert set(schema.models) == {"market.last_close", "lab.daily"}


def test_a_contract_knows_its_columns_and_key(schema):
    bars = schema.contracts["market.bars"]
    assert (bars.kind, bars.materialized, bars.grain) == ("contract", "table", "one row per symbol and open")
    assert bars.columns["close"] == "Last price."
    assert [(c.name, c.type, c.is_nullable) for c in bars.table.columns] == [
        ("symbol", "VARCHAR", False),
        ("opened_at_utc", "TIMESTAMP", False),
        ("close", "DOUBLE", False),
        ("volume", "DOUBLE", True),
    ]
    assert bars.table.primary_key == ("symbol", "opened_at_utc")
    assert schema.contracts["features.features"].is_extensible


def test_a_model_knows_what_it_reads_and_is_a_view_unless_it_says_table(schema):
    assert schema.models["market.last_close"].materialized == "view"
    assert schema.models["lab.daily"].materialized == "table"
    assert schema.models["lab.daily"].depends_on == ("market.bars", "market.last_close")


def test_dependencies_are_read_from_asof_joins_subqueries_and_parameters_of_ctes(write_sql):
    reading = (
        VIEW
        + """
    with wanted as (select symbol, opened_at_utc from features.features),
    bars as (select * from market.bars where close > (select avg(close) from market.last_close))
    select bars.close as a from wanted asof join bars
        on wanted.symbol = bars.symbol and wanted.opened_at_utc >= bars.opened_at_utc
    """
    )
    model = Schema.load(write_sql({"lab/joined": reading})).models["lab.joined"]
    assert model.depends_on == ("features.features", "market.bars", "market.last_close")


def test_row_tests_become_one_test_each(schema):
    assert [test.name for test in schema.contracts["market.bars"].tests] == [
        "not_null(symbol)",
        "not_null(close)",
        "unique(symbol, opened_at_utc)",
        "positive(close)",
        "accepted(symbol)",
        "expression(volume >= 0)",
    ]


def test_equal_trees_have_equal_fingerprints_and_every_change_shows(write_sql):
    first = Schema.load(write_sql()).fingerprint
    assert Schema.load(write_sql()).fingerprint == first
    fingerprints = {
        Schema.load(write_sql({"lab/extra": text})).fingerprint
        for text in (header(), header(grain="h"), header(columns="{a: B.}"), header(materialized="table"))
    }
    assert len(fingerprints | {first}) == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("select 1 as a", "does not begin with a header"),
        ("select 1 as a /* description: late */", "does not begin with a header"),
        ("/* description: open\nselect 1", "does not begin with a header"),
        ("/*\na: [\n*/ select 1 as a", "is not YAML"),
        ("/* just text */ select 1 as a", "header of .*extra.sql is wrong"),
        (header(grain=None), r"grain: Field required"),
        (header(owner="me"), r"owner: Extra inputs"),
        (header(materialized="cube"), r"materialized: Input should be 'view' or 'table'"),
        (header(extensible="double"), "only contracts are extensible"),
        (header(tests="[{not_null: [a], unique: [a]}]"), "a test has one key, found not_null, unique"),
        (header(tests="[{nonull: [a]}]"), "nonull: Extra inputs"),
        (header(tests="[{not_null: [b]}]"), r"sql file of lab.extra: .*b"),
        (header(tests="[{expression: a >}]"), r"sql file of lab.extra: .*Parser"),
        (
            header(tests="[{relationship: {column: a, to: bars.symbol}}]"),
            r"relationship.to: String should match",
        ),
        (header(columns="{a: A., b: B.}"), r"lab.extra does not fit .*described but not there b"),
        (header() + ", 2 as b", r"lab.extra does not fit .*without description b"),
        (header() + " from bars", "extra.sql reads bars; write schema.table"),
        (header() + " from market.trades", r"lab.extra reads market.trades, for which sql/ has no file"),
        (header() + " from market.bars where nothing > 1", r"sql file of lab.extra: .*nothing"),
        (header() + "; select 2 as a", "extra.sql has 2 statements"),
        (header() + " frm x", "extra.sql is neither `create table` nor a select"),
        (header().replace("select 1 as a", "drop table market.bars"), "neither `create table` nor a select"),
        (
            header().replace("select 1 as a", "create table lab.other (a int)"),
            "lab.extra makes another table",
        ),
        (
            header(materialized="table").replace("select 1 as a", "create table lab.extra (a int)"),
            "a contract is a table that Python writes",
        ),
        (header() + " from lab.extra", "depend on each other in a circle: lab.extra -> lab.extra"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(write_sql, text, said):
    with pytest.raises(ContractError, match=rf"(?s){said}"):
        Schema.load(write_sql({"lab/extra": text}))


def test_a_file_outside_of_a_schema_folder_is_refused(write_sql):
    with pytest.raises(ContractError, match=r"lost\.sql must lie in .*<schema>"):
        Schema.load(write_sql({"lost": header()}))


def test_a_folder_without_sql_is_refused(tmp_path):
    with pytest.raises(ContractError, match="no sql files below"):
        Schema.load(tmp_path)
