"""Every table and view of the warehouse, read from sql/: `sql/<schema>/<name>.sql`.

A file that begins with `create table` (below its header) is the contract of a table that Python writes; a
file that is a select is a model. `load` checks each against DuckDB: what loads can be migrated to.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import duckdb

from cappuccino.errors import ContractError
from cappuccino.store import dependencies, tables
from cappuccino.store.failing_rows import TableTest, table_tests
from cappuccino.store.header import Example, Header, split
from cappuccino.store.tables import Table, quote

SQL_DIR = Path(__file__).resolve().parents[2] / "sql"
"""The tree of this repository."""
SCHEMA_VERSION = 1
"""Raise it with every change of sql/ after which an older Cappuccino must not write to the warehouse."""


@dataclass(frozen=True)
class SqlFile:
    """One file of sql/: a contract or a model."""

    schema: str
    name: str
    kind: Literal["contract", "model"]
    materialized: Literal["view", "table"]
    header: Header
    sql: str
    """The statement without header and final semicolon."""
    depends_on: tuple[str, ...]
    """Names of what a model reads, sorted; empty for contracts."""
    table: Table
    """Shape that DuckDB gives it."""

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def description(self) -> str:
        return self.header.description

    @property
    def grain(self) -> str:
        return self.header.grain

    @property
    def columns(self) -> dict[str, str]:
        """Description of each column."""
        return self.header.columns

    @property
    def is_extensible(self) -> bool:
        return self.header.extensible is not None

    @property
    def examples(self) -> tuple[Example, ...]:
        return self.header.examples

    @property
    def tests(self) -> tuple[TableTest, ...]:
        return table_tests(self.full_name, self.header.tests)

    @property
    def create_sql(self) -> str:
        """The statement that makes it; for models it replaces an earlier one."""
        if self.kind == "contract":
            return self.sql
        return f"create or replace {self.materialized} {quote(self.full_name)} as\n{self.sql}"

    @property
    def definition(self) -> str:
        """Hash of SQL and header."""
        text = f"{self.kind}\n{self.header.model_dump_json()}\n{self.sql}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Schema:
    """The files in an order in which each comes after those it reads; contracts first."""

    files: tuple[SqlFile, ...]
    version: int = SCHEMA_VERSION

    @classmethod
    def load(cls, sql_dir: Path) -> Schema:
        """Return the schema of `sql_dir`.

        Raises ContractError naming the file when a header is wrong or does not fit, or SQL does not bind.
        """
        paths = sorted(sql_dir.rglob("*.sql"))
        misplaced = [str(path) for path in paths if path.parent.parent != sql_dir]
        if misplaced:
            raise ContractError(f"{', '.join(misplaced)} must lie in {sql_dir}/<schema>/, the folder is the schema")
        if not paths:
            raise ContractError(f"no sql files below {sql_dir.absolute()}; expected {sql_dir}/<schema>/<name>.sql")
        with duckdb.connect(":memory:") as connection:
            parsed = {file.full_name: file for file in (_parse(connection, path) for path in paths)}
            _refuse_unknown_tables(parsed)
            order = dependencies.in_order({name: file.depends_on for name, file in parsed.items()})
            ordered = sorted((parsed[name] for name in order), key=lambda file: file.kind == "model")
            bound = tuple(_bound(connection, file) for file in ordered)
            for file in bound:  # a test may look at any other table
                _bind_tests(connection, file)
            return cls(bound)

    @cached_property
    def contracts(self) -> MappingProxyType[str, SqlFile]:
        return MappingProxyType({file.full_name: file for file in self.files if file.kind == "contract"})

    @cached_property
    def models(self) -> MappingProxyType[str, SqlFile]:
        return MappingProxyType({file.full_name: file for file in self.files if file.kind == "model"})

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all definitions."""
        return hashlib.sha256("".join(file.definition for file in self.files).encode()).hexdigest()[:16]


def _parse(connection: duckdb.DuckDBPyConnection, path: Path) -> SqlFile:
    header, sql = split(path.read_text(encoding="utf-8"), path)
    schema, name = path.parent.name, path.stem
    is_contract = sql.lower().startswith("create table")
    if is_contract and header.materialized:
        raise ContractError(f"header of {path}: a contract is a table that Python writes; remove materialized")
    if not is_contract and header.extensible:
        raise ContractError(f"header of {path}: only contracts are extensible; remove extensible")
    return SqlFile(
        schema=schema,
        name=name,
        kind="contract" if is_contract else "model",
        materialized="table" if is_contract else header.materialized or "view",
        header=header,
        sql=sql,
        depends_on=() if is_contract else dependencies.tables_read(connection, sql, str(path)),
        table=Table(f"{schema}.{name}", ()),
    )


def _refuse_unknown_tables(files: dict[str, SqlFile]) -> None:
    for name, file in files.items():
        unknown = [table for table in file.depends_on if table not in files]
        if unknown:
            raise ContractError(
                f"{name} reads {', '.join(unknown)}, for which sql/ has no file; there are {', '.join(files)}"
            )


def _bound(connection: duckdb.DuckDBPyConnection, file: SqlFile) -> SqlFile:
    """Return `file` with the shape that DuckDB gives it; models count as views, nothing is computed."""
    name = file.full_name
    try:
        connection.execute(f"create schema if not exists {quote(file.schema)}")
        connection.execute(file.sql if file.kind == "contract" else f"create view {quote(name)} as\n{file.sql}")
        table = tables.find(connection, name)
        if table is None:
            raise ContractError(f"sql file of {name} makes another table; the folder is the schema, the file the name")
    except duckdb.Error as error:
        raise ContractError(f"sql file of {name}: {error}") from None
    undescribed = [column for column in table.names if column not in file.columns]
    unknown = [column for column in file.columns if column not in table.names]
    if undescribed or unknown:
        raise ContractError(
            f"header of {name} does not fit its columns: without description "
            f"{', '.join(undescribed) or 'none'}; described but not there {', '.join(unknown) or 'none'}"
        )
    return replace(file, table=table)


def _bind_tests(connection: duckdb.DuckDBPyConnection, file: SqlFile) -> None:
    try:
        for test in file.tests:
            connection.sql(f"explain {test.failing_sql}")
    except duckdb.Error as error:
        raise ContractError(f"sql file of {file.full_name}: {error}") from None
