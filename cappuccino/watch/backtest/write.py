"""The page of a backtest as one HTML file, in the dress of the report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cappuccino.store.warehouse import Warehouse
from cappuccino.watch import formats
from cappuccino.watch.backtest.read import BacktestRows, read_backtest
from cappuccino.watch.backtest.sections import sections
from cappuccino.watch.backtest.words import SIGNIFICANT, sample_sentence
from cappuccino.watch.report.page import SIMULATED_MARKET, Banner, Page, Tile
from cappuccino.watch.report.write import html_of, store


def write_backtest_page(warehouse: Warehouse, backtest: str, file: Path) -> Path:
    """Write the page of `backtest` to `file` and return it; the old one stays until the new one is complete.

    Raises UnknownName with the backtests there are, and WarehouseError when the warehouse cannot be read.
    """
    with warehouse.read() as reader:
        found = read_backtest(reader, backtest)
    # Drawing takes seconds; nobody has to wait for the warehouse meanwhile.
    return store(render(found), file)


def render(found: BacktestRows) -> str:
    """Return the page of a backtest."""
    seen = (Banner("In-sample.", sample_sentence(found.run).removeprefix("In-sample: "), "alarm"),)
    return html_of(
        Page(
            f"Backtest of {found.subject}",
            f"{formats.text('', found.start)} to {formats.text('', found.stop)} UTC · {found.run['interval']} bars · "
            f"{found.name}",
            found.is_simulated,
            (SIMULATED_MARKET,) * found.is_simulated + seen * (found.run["in_sample_frac"] > 0),
            tuple(tiles(found)),
            tuple(sections(found)),
        )
    )


def tiles(found: BacktestRows) -> Iterator[Tile]:
    """Yield the figures at the top: what it earned, beside whom, and whether it was luck."""
    own = found.measures.row(0, named=True)
    others = found.measures.slice(1)
    best = f"best baseline {formats.text('total_return_frac', others['total_return_frac'][0])}" if len(others) else ""
    for name, column, note in (
        ("Return", "total_return_frac", best),
        ("Alpha", "alpha_frac", "above buy-and-hold"),
        ("Sharpe", "sharpe_annualized", "from bars, per year"),
        ("Max drawdown", "max_drawdown_frac", "at closes, after costs"),
    ):
        yield Tile(name, formats.text(column, own[column]), note, formats.tone(column, own[column]))
    for row in found.timing.filter(found.timing["way"] == "random_timing").iter_rows(named=True):
        word = "more than luck" if max(row["p_return"], row["p_sharpe"]) < SIGNIFICANT else "not told from luck"
        yield Tile("Random timing, p", f"{row['p_return']:.3f}", word)
    yield Tile("Beta", f"{found.run['beta']:.2f}", f"alpha a day: t = {found.run['alpha_t']:.1f}")
    n_trades = found.run["n_trades"]
    paid = own["fees_usd"] + own["slippage_usd"]
    yield Tile("Trades", f"{n_trades:,}", f"{formats.text('paid_usd', paid)} USD of fees and slippage")
    yield Tile("Trained on", f"{found.run['in_sample_frac']:.0%}", "of this range")
