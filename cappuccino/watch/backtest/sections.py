"""The page of a backtest, part by part."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import polars as pl

from cappuccino.watch.backtest.read import BacktestRows
from cappuccino.watch.backtest.words import FACTORS, market_sentence, sample_sentence, timing_sentence
from cappuccino.watch.plots import backtest as plots
from cappuccino.watch.report.glossary import GLOSSARY
from cappuccino.watch.report.page import Grid, Section, Term, grid, picture

_MEASURES = (
    "subject",
    "total_return_frac",
    "alpha_frac",
    "sharpe_annualized",
    "sortino_annualized",
    "calmar",
    "information_ratio_annualized",
    "max_drawdown_frac",
    "max_drawdown_bars",
    "volatility_annualized",
    "tail_loss_frac",
    "win_rate_frac",
    "profit_factor",
    "turnover_per_day",
    "trades_per_month",
    "exposure_frac",
    "fees_usd",
    "slippage_usd",
)
_TRADE = (
    "opened_at_utc",
    "closed_at_utc",
    "symbol",
    "ended_by",
    "n_bars",
    "entry_usd",
    "exit_usd",
    "net_pnl_usd",
    "return_frac",
    "worst_frac",
    "best_frac",
    "fee_usd",
    "slippage_usd",
)
_SYMBOL = (
    "symbol",
    "pnl_usd",
    "return_contribution_frac",
    "held_frac",
    "weight_frac",
    "fee_usd",
    "slippage_usd",
    "delay_usd",
)
N_TRADES = 12


def sections(found: BacktestRows) -> Iterator[Section]:
    """Yield the sections of the page in order."""
    yield course(found)
    yield measures(found)
    yield luck(found)
    yield attribution(found)
    yield by_month(found)
    yield trades(found)
    yield costs(found)
    yield Section(
        "glossary", "What the measures say", terms=tuple(Term(k, GLOSSARY[k]) for k in _MEASURES if k in GLOSSARY)
    )


def course(found: BacktestRows) -> Section:
    """Draw the account beside everybody else's, its falls and its exposure."""
    sentences = (
        f"{', '.join(found.run['symbols'])}, {found.run['interval']} bars, through the engine, costs and "
        f"{'risk rules' if found.is_model else 'orders'} that the traders use.",
        sample_sentence(found.run),
    )
    subject, simulated, cash = found.subject, found.is_simulated, found.cash_usd
    pictures = (
        picture("Value beside the baselines", partial(plots.growth, found.days, subject, cash, simulated=simulated)),
        picture("Drawdown", partial(plots.drawdown, found.equity, subject, cash, simulated=simulated)),
        picture("Exposure", partial(plots.exposure, found.equity, simulated=simulated)),
    )
    return Section("course", "The course", sentences, pictures)


def measures(found: BacktestRows) -> Section:
    """Set the subject's measures beside the baselines'."""
    sentences = ("Same bars, same costs, same engine; the subject is marked, the baselines follow, best return first.",)
    sql = f"from lab.backtest_measures where backtest = '{found.name}'"
    table = grid(found.measures, _MEASURES, sql, mark=~pl.col("is_baseline"))
    return Section("measures", "Beside the baselines", sentences, grids=(table,))


def luck(found: BacktestRows) -> Section:
    """Say whether its timing was more than luck."""
    told = tuple(
        timing_sentence(way, p_return, p_sharpe, n_others)
        for way, p_return, p_sharpe, n_others in found.timing.select(
            "way", "p_return", "p_sharpe", "n_others"
        ).iter_rows()
    )
    draw = partial(plots.luck, found.timing, simulated=found.is_simulated)
    sentences = (
        "An account that was only long while prices rose gains as much at any other time of the range: its p-values "
        "are far from 0, however well it did.",
        *told,
        market_sentence(found.run),
    )
    return Section("luck", "Timing or luck", sentences, (picture("The subject among accounts in other orders", draw),))


def attribution(found: BacktestRows) -> Section:
    """Show what the gain was made of."""
    pictures = tuple(
        picture(f"Gain by {kind}", partial(plots.parts, found.attribution, kind, simulated=found.is_simulated))
        for kind in ("factor", "symbol")
    )
    symbols = found.attribution.filter(pl.col("kind") == "symbol").rename({"part": "symbol"})
    sql = f"from lab.backtest_attribution where backtest = '{found.name}'"
    table = grid(symbols, _SYMBOL, sql)
    terms = tuple(Term(name, text) for name, text in FACTORS.items())
    sentence = "Factors add up to the account's gain, and so do symbols."
    return Section("attribution", "Where it came from", (sentence,), pictures, (table,), terms)


def by_month(found: BacktestRows) -> Section:
    """Show what each month brought."""
    own = found.months.filter(pl.col("subject") == found.subject)
    draw = partial(plots.months, own, simulated=found.is_simulated)
    return Section(
        "months", "Month by month", (), (picture("Return of each month", draw),), (_months_beside(found, own),)
    )


def trades(found: BacktestRows) -> Section:
    """Show round trips, the largest gains and losses first."""
    rows = found.trades
    if rows.is_empty():
        return Section("trades", "Trades", ("It never traded.",))
    ended = dict(rows.group_by("ended_by").len().sort("len", descending=True).iter_rows())
    said = ", ".join(f"{n:,} by {name.replace('_', ' ')}" for name, n in ended.items())
    draw = partial(plots.trades, rows, simulated=found.is_simulated)
    largest = rows.sort(pl.col("net_pnl_usd").abs(), descending=True).head(60)
    sql = f"from lab.backtest_trades where backtest = '{found.name}'"
    table = grid(largest, _TRADE, sql, n_shown=N_TRADES)
    sentences = (f"{rows.height:,} round trips, ended {said}.", "The table has the largest gains and losses first.")
    return Section("trades", "Trades", sentences, (picture("Trades by length and return", draw),), (table,))


def costs(found: BacktestRows) -> Section:
    """Show what trading cost."""
    rows = found.attribution.filter(pl.col("kind") == "cost")
    draw = partial(plots.parts, found.attribution, "cost", simulated=found.is_simulated)
    table = grid(
        rows.rename({"part": "cost"}), ("cost", "pnl_usd", "return_contribution_frac", "cost_bps"), "", n_shown=N_TRADES
    )
    sql = f"from lab.slippage_by_symbol where account = '{found.name}'"
    sentences = (
        "Measured from the close that was decided on (implementation shortfall); basis points of what was traded.",
    )
    tables = (Grid(table.headings, table.rows, (), 0, frozenset(), sql),)
    return Section("costs", "Costs", sentences, (picture("Costs by kind", draw),), tables)


def _months_beside(found: BacktestRows, own: pl.DataFrame) -> Grid:
    market = found.months.filter(pl.col("subject") == plots.MARKET)
    rows = own.join(market, on=["year", "month"], how="left", suffix="_market", maintain_order="left").select(
        month=pl.format("{}-{}", "year", pl.col("month").cast(pl.String).str.zfill(2)),
        n_days="n_days",
        return_frac="return_frac",
        market_return_frac="return_frac_market",
        alpha_frac=pl.col("return_frac") - pl.col("return_frac_market"),
    )
    sql = f"from lab.backtest_months where backtest = '{found.name}'"
    return grid(rows, rows.columns, sql, n_shown=36)
