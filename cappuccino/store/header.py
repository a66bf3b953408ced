"""The YAML header in the leading comment of a file of sql/."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cappuccino.errors import ContractError

Text = Annotated[str, Field(min_length=1)]
Rows = list[dict[str, Any]]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Relationship(Part):
    column: Text
    to: Annotated[str, Field(pattern=r"^\w+\.\w+\.\w+$")]
    """schema.table.column"""


class RowTest(Part):
    """One condition on the rows; exactly one key."""

    not_null: list[Text] | None = None
    """None of these columns is null."""
    unique: list[Text] | None = None
    """No combination of these columns comes twice."""
    accepted: dict[Text, list[str | int | bool]] | None = None
    """Values of a column that are allowed; null is too."""
    positive: list[Text] | None = None
    """Each column is above zero or null, and not NaN."""
    relationship: Relationship | None = None
    """Every value of the column that is not null is in the other table."""
    expression: Text | None = None
    """An SQL condition that is true for every row."""

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError(f"a test has one key, found {', '.join(sorted(self.model_fields_set)) or 'none'}")
        return self


class Example(Part):
    """Rows in, rows out; columns that are left out are null in `given` and not compared in `expect`."""

    name: str = ""
    given: dict[str, Rows]
    where: str = "true"
    """SQL condition for the rows of the result that are compared."""
    expect: Rows


class Header(Part):
    description: Text
    grain: Text
    """What one row is: "one row per symbol and hour"."""
    columns: Annotated[dict[Text, Text], Field(min_length=1)]
    """Descriptions, one for each column."""
    materialized: Literal["view", "table"] | None = None
    """Of models; a view unless it says table."""
    extensible: Literal["double"] | None = None
    """Of contracts: Python may add DOUBLE columns."""
    tests: tuple[RowTest, ...] = ()
    examples: tuple[Example, ...] = ()


def split(text: str, file: Path) -> tuple[Header, str]:
    """Return the header and the SQL below it.

    Raises ContractError naming the file and the wrong key when there is no header or it is not as above.
    """
    opening, closing = text.find("/*"), text.find("*/")
    if opening != len(text) - len(text.lstrip()) or closing < 0:
        raise ContractError(f"{file} does not begin with a header: /* description: ..., grain: ..., columns: ... */")
    try:
        content = yaml.safe_load(text[opening + 2 : closing])
        return Header.model_validate(content), text[closing + 2 :].strip().removesuffix(";").rstrip()
    except yaml.YAMLError as error:
        raise ContractError(f"header of {file} is not YAML: {error}") from None
    except ValidationError as error:
        problems = (f"{'.'.join(str(part) for part in e['loc']) or 'header'}: {e['msg']}" for e in error.errors())
        raise ContractError(f"header of {file} is wrong: {'; '.join(problems)}") from None
