"""Bringing a warehouse to the schema of sql/.

New tables and views are created, models that changed are built again, and a contract's new column is added.
Any other difference of a table that Python writes is refused with the statement to run, because rows may
depend on it.
"""

from __future__ import annotations

from cappuccino.errors import ContractError, WarehouseTooNew
from cappuccino.store import bookkeeping, models, tables
from cappuccino.store.bookkeeping import Made
from cappuccino.store.connection import Reader, Writer
from cappuccino.store.schema import SCHEMA_VERSION, Schema, SqlFile
from cappuccino.store.tables import Column, Table, quote


def is_current(reader: Reader, schema: Schema) -> bool:
    """Return whether the warehouse is at just this schema; raises WarehouseTooNew as `migrate` does."""
    found = bookkeeping.version(reader.connection)
    if found is None:
        return False
    refuse_newer(reader, schema.version)
    present = tables.existing(reader.connection)
    return found == (schema.version, schema.fingerprint) and all(file.full_name in present for file in schema.files)


def migrate(writer: Writer, schema: Schema) -> None:
    """Create, extend and build what `schema` has and the warehouse lacks.

    Raises ContractError with the statements to run for differences that need a decision, all tables in one
    message; WarehouseTooNew when a newer Cappuccino has migrated this file.
    """
    bookkeeping.prepare(writer.connection)
    refuse_newer(writer, schema.version)
    made = bookkeeping.made(writer.connection)
    _drop_former_models(writer, schema, made)
    _refuse_differences(writer, schema)
    changed: set[str] = set()
    for file in schema.files:
        if _bring(writer, file, made.get(file.full_name), changed):
            changed.add(file.full_name)
    bookkeeping.set_version(writer.connection, schema.version, schema.fingerprint)


def refuse_newer(reader: Reader, known: int = SCHEMA_VERSION) -> None:
    """Raise WarehouseTooNew when a Cappuccino that knows a later schema version than `known` has migrated this file."""
    found = bookkeeping.version(reader.connection)
    if found and found[0] > known:
        raise WarehouseTooNew(
            f"{reader.file} has schema version {found[0]}, this Cappuccino knows {known}; "
            "update Cappuccino, or point it to another warehouse folder"
        )


def _drop_former_models(writer: Writer, schema: Schema, made: dict[str, Made]) -> None:
    """Drop tables and views of models that have no file any more or changed between table and view."""
    wanted = {file.full_name: _kind(file) for file in schema.files}
    for name, entry in made.items():
        if entry.kind != "contract" and wanted.get(name) != entry.kind:
            writer.execute(f"drop {entry.kind} if exists {quote(name)}")
            bookkeeping.forget(writer.connection, name)


def _refuse_differences(writer: Writer, schema: Schema) -> None:
    advice = []
    for file in schema.contracts.values():
        present = tables.find(writer.connection, file.full_name)
        if present is not None:
            advice += differences(present, file)
    if advice:
        raise ContractError(
            f"{writer.file} differs from sql/ in ways that need a decision; nothing was changed. "
            "Make a backup, then run:\n  " + "\n  ".join(advice)
        )


def differences(present: Table, contract: SqlFile) -> list[str]:
    """Return the statements that bring table `present` to its contract, columns that can be added apart."""
    name, wanted = quote(contract.full_name), contract.table
    if present.primary_key != wanted.primary_key or present.constraints != wanted.constraints:
        old = quote(f"{contract.schema}.{contract.name}_old")
        return [
            f"alter table {name} rename to {quote(contract.name + '_old')};"
            f" -- key or constraints changed; then migrate again, and"
            f" insert into {name} by name select * from {old}; drop table {old};"
        ]
    statements = []
    for column in present.columns:
        target = wanted.column(column.name)
        if target is not None:
            statements += _column_differences(name, column, target)
        elif not (contract.is_extensible and column.type == "DOUBLE"):
            statements.append(
                f"alter table {name} drop column {quote(column.name)}; -- its contract has no such column"
            )
    return statements + [s for c in wanted.columns if present.column(c.name) is None for s in _unaddable(name, c)]


def _column_differences(table: str, present: Column, wanted: Column) -> list[str]:
    alter = f"alter table {table} alter column {quote(wanted.name)}"
    statements = []
    if present.type != wanted.type:
        statements.append(f"{alter} type {wanted.type}; -- is {present.type}")
    if present.is_nullable != wanted.is_nullable:
        statements.append(f"{alter} {'drop' if wanted.is_nullable else 'set'} not null;")
    if present.default != wanted.default:
        to = f"set default {wanted.default}" if wanted.default else "drop default"
        statements.append(f"{alter} {to}; -- is {present.default or 'none'}")
    return statements


def _unaddable(table: str, column: Column) -> list[str]:
    """A new column without null needs a value for the rows that are there."""
    if column.is_nullable or column.default is not None:
        return []
    name = quote(column.name)
    return [
        f"alter table {table} add column {name} {column.type} default ...; -- for the rows that are there",
        f"alter table {table} alter column {name} set not null;",
        f"alter table {table} alter column {name} drop default;",
    ]


def _bring(writer: Writer, file: SqlFile, made: Made | None, changed: set[str]) -> bool:
    """Create or update one table or view; return whether anything about it changed."""
    present = tables.find(writer.connection, file.full_name)
    is_same = made is not None and made.definition == file.definition
    is_whole = present is not None and set(file.table.names) <= set(present.names)
    if is_same and is_whole and changed.isdisjoint(file.depends_on):
        return False
    if file.kind == "model":
        models.build(writer, file)
    else:
        _bring_contract(writer, file, present)
    own = file.table.names if file.is_extensible else None
    bookkeeping.record(writer.connection, Made(file.full_name, _kind(file), file.definition, own))
    return True


def _bring_contract(writer: Writer, file: SqlFile, present: Table | None) -> None:
    if present is None:
        writer.execute(f"create schema if not exists {quote(file.schema)}")
        writer.execute(file.sql)
    else:
        for column in file.table.columns:
            if present.column(column.name) is None:
                _add_column(writer, quote(file.full_name), column)
    models.comment(writer, file)


def _add_column(writer: Writer, table: str, column: Column) -> None:
    default = f" default {column.default}" if column.default is not None else ""
    writer.execute(f"alter table {table} add column {quote(column.name)} {column.type}{default}")
    if not column.is_nullable:
        writer.execute(f"alter table {table} alter column {quote(column.name)} set not null")


def _kind(file: SqlFile) -> str:
    return "contract" if file.kind == "contract" else file.materialized
