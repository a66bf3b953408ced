from dataclasses import replace

import pytest

from cappuccino.errors import ContractError, WarehouseTooNew
from cappuccino.store.schema import Schema

BAR = "insert into market.bars values ('BTC/USD', '2025-01-01', 10, 1)"


def changed(write_sql, name, old, new):
    """Return the schema with one text of one file exchanged."""
    text = (write_sql() / f"{name}.sql").read_text()
    assert old in text
    return Schema.load(write_sql({name: text.replace(old, new)}))


def with_bar(warehouse):
    with warehouse.write() as writer:
        writer.execute(BAR)
    return warehouse


def test_migration_makes_tables_and_views_with_comments(warehouse):
    found = warehouse.query(
        """
        select schema_name || '.' || table_name as name, comment from duckdb_tables()
        where schema_name <> 'meta'
        union all
        select schema_name || '.' || view_name, comment from duckdb_views() where not internal
        """
    )
    assert dict(found.iter_rows()) == {
        "features.features": "Features. Grain: one row per bar",
        "lab.daily": "Days with bars. Grain: one row per day",
        "market.bars": "Bars as the source gave them. Grain: one row per symbol and open",
        "market.last_close": "The newest close of each symbol. Grain: one row per symbol",
    }
    said = warehouse.query(
        "select comment from duckdb_columns() where table_name = 'last_close' and column_name = 'close'"
    )
    assert said["comment"].to_list() == ['Close, "newest" bar: it\'s last.']


def test_migrating_again_changes_nothing(warehouse, schema):
    before = warehouse.file.read_bytes()
    warehouse.migrate(schema)
    assert warehouse.file.read_bytes() == before


def test_a_new_column_of_a_contract_is_added_and_rows_keep_their_values(warehouse, write_sql):
    with_bar(warehouse)
    text = (write_sql() / "market/bars.sql").read_text()
    text = text.replace("  volume: Traded", "  note: Free text.\n  source: Where from.\n  volume: Traded")
    text = text.replace("default 0,", "default 0, note varchar, source varchar not null default 'files',")
    warehouse.migrate(Schema.load(write_sql({"market/bars": text})))
    assert warehouse.query("select close, volume, note, source from market.bars").row(0) == (
        10,
        1,
        None,
        "files",
    )
    with pytest.raises(ContractError, match="NOT NULL"), warehouse.write() as writer:
        writer.execute("update market.bars set source = null")
    assert warehouse.query("from market.last_close").rows() == [("BTC/USD", 10.0)]


@pytest.mark.parametrize(
    ("old", "new", "statement"),
    [
        (
            "close double not",
            "close float not",
            'alter table "market"."bars" alter column "close" type FLOAT;',
        ),
        ("close double not null", "close double", 'alter column "close" drop not null;'),
        (
            "volume double default 0",
            "volume double default 0 not null",
            'alter column "volume" set not null;',
        ),
        (
            "volume double default 0",
            "volume double default 1",
            r'alter column "volume" set default 1; -- is 0',
        ),
        ("volume double default 0", "volume double", r'alter column "volume" drop default; -- is 0'),
        (
            "primary key (symbol, opened_at_utc)",
            "primary key (symbol)",
            'rename to "bars_old"; .*migrate again',
        ),
        (
            "primary key (symbol",
            "check (close > 0), primary key (symbol",
            'rename to "bars_old"; -- key or constr',
        ),
    ],
)
def test_other_differences_are_refused_with_the_statement_and_change_nothing(warehouse, write_sql, old, new, statement):
    before = with_bar(warehouse).file.read_bytes()
    with pytest.raises(ContractError, match=rf"(?s)nothing was changed.*{statement}"):
        warehouse.migrate(changed(write_sql, "market/bars", old, new))
    assert warehouse.query("from market.bars").height == 1
    assert len(warehouse.file.read_bytes()) == len(before)


def test_a_column_that_the_contract_lost_is_refused_with_the_statement(warehouse, write_sql):
    text = (write_sql() / "market/bars.sql").read_text()
    text = text.replace("    volume double default 0,\n", "").replace("  volume: Traded amount.\n", "")
    narrower = Schema.load(write_sql({"market/bars": text.replace("  - expression: volume >= 0\n", "")}))
    with pytest.raises(ContractError, match=r'alter table "market"\."bars" drop column "volume"; -- its contract'):
        warehouse.migrate(narrower)


def test_a_new_column_that_needs_a_value_is_refused_with_the_statements(warehouse, write_sql):
    text = (write_sql() / "market/bars.sql").read_text()
    text = text.replace("  volume: Traded", "  source: Where from.\n  volume: Traded")
    schema = Schema.load(write_sql({"market/bars": text.replace("default 0,", "default 0, source varchar not null,")}))
    with pytest.raises(ContractError) as refusal:
        warehouse.migrate(schema)
    with with_bar(warehouse).write() as writer:
        for line in str(refusal.value).splitlines()[1:]:
            writer.execute(line.replace("...", "'files'"))
    warehouse.migrate(schema)
    assert warehouse.query("select source from market.bars")["source"].to_list() == ["files"]


def test_the_statement_of_a_refusal_makes_the_migration_pass(warehouse, write_sql):
    schema = changed(write_sql, "market/bars", "volume double default 0", "volume float default 2")
    with pytest.raises(ContractError) as refusal:
        warehouse.migrate(schema)
    with with_bar(warehouse).write() as writer:
        for line in str(refusal.value).splitlines()[1:]:
            writer.execute(line)
    warehouse.migrate(schema)
    assert warehouse.query("select volume from market.bars").rows() == [(1.0,)]


def test_columns_that_python_added_to_an_extensible_table_are_no_difference(warehouse, write_sql):
    with warehouse.write() as writer:
        writer.execute("alter table features.features add column rsi_14 double")
    warehouse.migrate(changed(write_sql, "features/features", "Features.", "All features."))
    assert "rsi_14" in warehouse.query("from features.features").columns


def test_a_changed_model_is_built_again_with_those_that_read_it(warehouse, write_sql):
    warehouse = with_bar(warehouse)
    warehouse.migrate(changed(write_sql, "market/last_close", "arg_max(", "2 * arg_max("))
    assert warehouse.query("from market.last_close").rows() == [("BTC/USD", 20.0)]
    assert warehouse.query("select highest from lab.daily")["highest"].to_list() == [20.0]


def test_a_model_may_change_between_view_and_table(warehouse, write_sql):
    as_table = changed(write_sql, "market/last_close", "grain:", "materialized: table\ngrain:")
    for schema in (as_table, Schema.load(write_sql())):
        warehouse.migrate(schema)
        assert warehouse.query("from market.last_close").height == 0


def test_a_model_without_a_file_is_dropped_and_a_contract_without_a_file_keeps_its_rows(warehouse, write_sql):
    with_bar(warehouse)
    schema = Schema.load(write_sql({"market/bars": None, "market/last_close": None, "lab/daily": None}))
    warehouse.migrate(schema)
    views = warehouse.query("select view_name from duckdb_views() where not internal")["view_name"].to_list()
    assert views == []
    assert warehouse.query("from market.bars").height == 1


def test_a_dropped_table_is_made_again(warehouse, schema):
    with warehouse.write() as writer:
        writer.execute("drop view market.last_close")
    warehouse.migrate(schema)
    assert warehouse.query("from market.last_close").height == 0


def test_a_warehouse_of_a_newer_cappuccino_is_refused(warehouse, schema):
    warehouse.migrate(replace(schema, version=schema.version + 1))
    said = f"schema version {schema.version + 1}, this Cappuccino knows {schema.version}"
    with pytest.raises(WarehouseTooNew, match=said):
        warehouse.migrate(schema)
