"""The page of a replay as one HTML file, in the dress of the report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from cappuccino.store.warehouse import Warehouse
from cappuccino.watch import formats
from cappuccino.watch.replay.course import spells
from cappuccino.watch.replay.read import Replay, read_replay
from cappuccino.watch.replay.sections import sections
from cappuccino.watch.replay.words import counted
from cappuccino.watch.report.page import SIMULATED_MARKET, Banner, Page, Tile
from cappuccino.watch.report.write import html_of, store

# A date does not break over two lines of a small screen.
_DAY = "%Y-%m-%d".replace("-", "\N{NON-BREAKING HYPHEN}")


def write_replay_report(warehouse: Warehouse, replay: str, file: Path) -> Path:
    """Write the page of `replay` to `file` and return it; the old one stays until the new one is complete.

    Raises UnknownName with the replays there are, and WarehouseError when the warehouse cannot be read.
    """
    with warehouse.read() as reader:
        found = read_replay(reader, replay)
    # Drawing takes seconds; nobody has to wait for the warehouse meanwhile.
    return store(render(found), file)


def render(replay: Replay) -> str:
    """Return the page of a replay."""
    unfinished = () if replay.is_complete else (_unfinished(replay),)
    return html_of(
        Page(
            f"Replay of {replay.start:{_DAY}} to {replay.run['to_utc']:{_DAY}}",
            f"{replay.name} · as of its moment {formats.text('', replay.until)} UTC · profile {replay.run['profile']}",
            replay.is_simulated,
            (SIMULATED_MARKET,) * replay.is_simulated + unfinished,
            tuple(tiles(replay)),
            tuple(sections(replay)),
        )
    )


def tiles(replay: Replay) -> Iterator[Tile]:
    """Yield the figures at the top: what the system earned and paid, over how long, and who trades at the end."""
    for row in replay.measures.filter(pl.col("subject") == "system").iter_rows(named=True):
        for name, column, note in (
            ("System", "total_return_frac", _beside(replay)),
            ("Alpha", "alpha_frac", "above buy-and-hold"),
            ("Sharpe", "sharpe_annualized", "from daily returns, per year"),
            ("Max drawdown", "max_drawdown_frac", "at the ends of days"),
        ):
            yield Tile(name, formats.text(column, row[column]), note, formats.tone(column, row[column]))
        fees, slippage = row["fees_usd"], row["slippage_usd"]
        note = f"fees {formats.text('fees_usd', fees)}, slippage {formats.text('slippage_usd', slippage)}"
        yield Tile("Fees and slippage (USD)", formats.text("paid_usd", fees + slippage), note)
    yield _days(replay)
    n_studies, n_stopped = replay.run["n_studies"], replay.run["n_stopped"]
    note = f"{counted(n_stopped, 'job')} stopped by an error"
    yield Tile("Studies run", formats.text("n_studies", n_studies), note)
    yield _in_production(replay)


def _beside(replay: Replay) -> str:
    gain = replay.measures.filter(pl.col("subject") == "buy_and_hold")["total_return_frac"]
    return f"buy-and-hold {formats.text('total_return_frac', gain[0])}" if len(gain) else "after costs"


def _days(replay: Replay) -> Tile:
    note = "" if replay.is_complete else f"of {replay.n_days_planned:,.4g}"
    return Tile("Days", formats.text("n_days", replay.run["n_days"] or 0), note or "all of them out of sample")


def _in_production(replay: Replay) -> Tile:
    when = "at the end" if replay.is_complete else "now"
    held = spells(replay.decisions, replay.start, replay.until)
    model = replay.run["production"]
    # Who came at the very last moment has not held it for any time yet.
    since = held["from_utc"][-1] if held.height and held["model"][-1] == model else replay.until
    return Tile(f"In production {when}", model or "nobody", f"since {formats.text('', since)}")


def _unfinished(replay: Replay) -> Banner:
    passed = (replay.until - replay.start).total_seconds() / 86_400
    text = (
        f"It stands at {formats.text('', replay.until)} UTC, {passed:,.4g} of {replay.n_days_planned:,.4g} days; "
        "the command that started it goes on from there."
    )
    return Banner("This replay has not come to its end.", text)
