from __future__ import annotations

import io

import polars as pl
from rich.console import Console
from rich.table import Table

from cappuccino.watch.tables import as_table


def printed(table: Table) -> str:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(table)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_numbers_stand_right_aligned_in_their_units() -> None:
    frame = pl.DataFrame({"subject": ["agent", "cash"], "total_return_frac": [0.0123, -0.5], "value_usd": [1e4, 5.0]})
    table = as_table(frame, "Production")
    assert [column.justify for column in table.columns] == ["left", "right", "right"]
    text = printed(table)
    assert "+1.23\N{NO-BREAK SPACE}%" in text
    assert "10,000.00" in text
    assert text.startswith("Production")


def test_gains_are_green_and_losses_red() -> None:
    table = as_table(pl.DataFrame({"alpha_frac": [0.1, -0.1, 0.0]}), "Alpha")
    assert [str(cell.style) for cell in table.columns[0].cells] == ["green", "red", ""]


def test_an_empty_frame_says_so() -> None:
    empty = pl.DataFrame(schema={"model": pl.String, "stage": pl.String})
    assert "no model has reached production yet" in printed(
        as_table(empty, "Production", empty="no model has reached production yet")
    )


def test_a_name_with_brackets_is_not_taken_for_markup() -> None:
    assert "[bold]study" in printed(as_table(pl.DataFrame({"study": ["[bold]study"]}), "Studies"))


def test_a_simulated_market_is_named_below_the_table() -> None:
    frame = pl.DataFrame({"study": ["training-20250625"]})
    assert "simulated market" in printed(as_table(frame, "Studies", simulated=True))
    assert "simulated market" not in printed(as_table(frame, "Studies"))
