"""Building models in the warehouse and testing the rows of any table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from cappuccino.store import tables
from cappuccino.store.connection import Reader, Writer
from cappuccino.store.schema import SqlFile
from cappuccino.store.tables import literal, quote

SAMPLE_ROWS = 5


@dataclass(frozen=True)
class TestResult:
    """Outcome of one test of one table."""

    __test__: ClassVar[bool] = False  # pytest takes every class named Test... for one of its own

    table: str
    name: str
    n_failed: int
    """Rows that fail; for `unique`, keys that come more than once."""
    sample: tuple[dict[str, Any], ...]
    """The first few of them."""
    failing_sql: str

    @property
    def passed(self) -> bool:
        return self.n_failed == 0


def build(writer: Writer, model: SqlFile) -> None:
    """Create or replace the table or view of `model`, with comments from its header."""
    writer.execute(f"create schema if not exists {quote(model.schema)}")
    writer.execute(model.create_sql)
    comment(writer, model)


def comment(writer: Writer, file: SqlFile) -> None:
    """Write description, grain and column descriptions where DuckDB's shell and tools show them."""
    name = quote(file.full_name)
    about = f"{file.description.strip()} Grain: {file.grain.strip()}"
    writer.execute(f"comment on {file.materialized} {name} is {literal(about)}")
    present = tables.require(writer.connection, file.full_name).names
    for column, text in file.columns.items():
        if column in present:
            writer.execute(f"comment on column {name}.{quote(column)} is {literal(text.strip())}")


def run_tests(reader: Reader, file: SqlFile) -> list[TestResult]:
    """Run the tests of `file` on the rows of its table.

    Raises WarehouseError when a test cannot run, such as for a table that has not been migrated.
    """
    results = []
    for test in file.tests:
        counted = reader.one(f"select count(*) from ({test.failing_sql})")
        n_failed = int(counted[0]) if counted else 0
        sample = reader.query(f"{test.failing_sql} limit {SAMPLE_ROWS}").to_dicts() if n_failed else []
        results.append(TestResult(file.full_name, test.name, n_failed, tuple(sample), test.failing_sql))
    return results
