"""The page of all tables, `docs/tables.md`, from the headers of sql/."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from cappuccino.store.schema import SQL_DIR, Schema, SqlFile

_OPENING = """# Tables

Every table and view of the warehouse, from the headers in `sql/`. A *contract* is a table that Python writes;
a *model* is a query over others, kept as a view or built as a table. Times are UTC.
"""


def render(schema: Schema) -> str:
    """Return the page as Markdown: a section per schema, a subsection per table, both in alphabetic order."""
    files = sorted(schema.files, key=lambda file: (file.schema, file.name))
    sections = [_OPENING]
    for name, members in groupby(files, key=lambda file: file.schema):
        sections.append(f"## {name}\n")
        sections += [_table(file) for file in members]
    return "\n".join(sections)


def _table(file: SqlFile) -> str:
    kind = "contract" if file.kind == "contract" else f"model, {file.materialized}"
    parts = [f"### {file.full_name}\n", f"{_line(file.description)}\n", f"*{kind}; {_line(file.grain)}*\n"]
    if file.is_extensible:
        parts.append("Further `DOUBLE` columns are added as they are written.\n")
    parts.append(_columns(file))
    parts += _list("Reads", (f"`{name}`" for name in file.depends_on))
    parts += _list("Primary key", (f"`{name}`" for name in file.table.primary_key))
    parts += _list("Tests", (f"`{test.name}`" for test in file.tests))
    return "\n".join(parts)


def _columns(file: SqlFile) -> str:
    rows = ["| column | type | meaning |", "|---|---|---|"]
    for column in file.table.columns:
        kind = column.type.lower() + ("" if column.is_nullable or file.kind == "model" else ", not null")
        rows.append(f"| `{column.name}` | {_cell(kind)} | {_cell(file.columns[column.name])} |")
    return "\n".join(rows) + "\n"


def _list(title: str, items: Iterable[str]) -> list[str]:
    text = ", ".join(items)
    return [f"{title}: {text}\n"] if text else []


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")


def main(*arguments: str) -> int:
    """Write the page to the file named, or with --check say whether it is current. Returns the exit code."""
    is_check, file = "--check" in arguments, Path(arguments[-1])
    page = render(Schema.load(SQL_DIR))
    if not is_check:
        file.write_text(page)
    elif file.read_text() != page:
        sys.stderr.write(f"{file} is not what sql/ says; write it again with `make docs`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
