"""`cappuccino backtest`: one subject over history, beside everybody else and beside itself at other times."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cappuccino.commands.common import as_json_option, json_text, present, settings_of, show, timed_say, warehouse_of
from cappuccino.errors import ConfigError
from cappuccino.settings import utc

if TYPE_CHECKING:
    import polars as pl

    from cappuccino.validation.backtest import Backtest

SHOWN = (
    "subject",
    "total_return_frac",
    "alpha_frac",
    "sharpe_annualized",
    "sortino_annualized",
    "max_drawdown_frac",
    "exposure_frac",
    "trades_per_month",
    "fees_usd",
    "slippage_usd",
)


@click.command()
@click.argument("subject")
@click.option("--from", "start", help="When the account opens (UTC) [default: where the model's training ended].")
@click.option("--to", "end", help="End of the range (UTC) [default: the newest bar that is not sealed].")
@click.option("--interval", help="Bars of a baseline [default: those of the newest training].")
@click.option(
    "--cost",
    "costs",
    multiple=True,
    metavar="KEY=NUMBER",
    help="Another cost than configured, such as fee_bps=10; may be repeated.",
)
@click.option("--permutations", type=click.IntRange(1), help="Accounts of each test of timing [default: 200].")
@click.option("--no-page", is_flag=True, help="Do not write the HTML page.")
@as_json_option
@click.pass_context
def backtest(
    ctx: click.Context,
    subject: str,
    start: str | None,
    end: str | None,
    interval: str | None,
    costs: tuple[str, ...],
    permutations: int | None,
    no_page: bool,
    as_json: bool,
) -> None:
    """Test a model, production, the ensemble or a baseline on history, through the engine that the traders use.

    SUBJECT is STUDY/TRIAL, production, ensemble or the name of a baseline. It stands beside the baselines, and beside
    accounts that did the same at other times: who merely was long in an uptrend is told from who knew when. Stored in
    lab.backtests and the tables beside it; the same command replaces its result.
    """
    from cappuccino.validation.backtest import backtest as run_backtest
    from cappuccino.validation.backtest_record import store_backtest
    from cappuccino.validation.timing import N_PERMUTATIONS
    from cappuccino.watch.backtest import write_backtest_page

    say = timed_say()
    settings = settings_of(ctx, {"costs": _costs(costs)} if costs else None)
    warehouse = warehouse_of(settings)
    with warehouse.read() as reader:
        now = present(reader)
    done = run_backtest(
        subject,
        warehouse,
        settings,
        now,
        utc(start) if start else None,
        utc(end) if end else None,
        interval=_interval(interval),
        n_permutations=permutations or N_PERMUTATIONS,
        say=say,
    )
    store_backtest(warehouse, done, now)
    page = None
    if not no_page:
        page = write_backtest_page(warehouse, done.name, settings.warehouse / "backtests" / f"{done.name}.html")
    if as_json:
        click.echo(json_text(_as_json(done, page)))
    else:
        _print(done, page)


def _print(done: Backtest, page: Path | None) -> None:
    import polars as pl

    from cappuccino.validation.backtest_record import frames_of
    from cappuccino.watch.backtest.words import market_sentence, sample_sentence

    frames = frames_of(done, done.stop)
    run = frames["backtests"].row(0, named=True)
    label = " (simulated market)" if done.is_simulated else ""
    title = f"{done.subject.name} beside the baselines, {done.start:%F %R} to {done.stop:%F %R}{label}"
    show(frames["backtest_measures"].select(SHOWN), title, as_json=False)
    show(_timing(frames["backtest_timing"]), "Beside itself in other orders", as_json=False)
    click.echo(market_sentence(run))
    show(done.by_factor, "Gain by factor", as_json=False)
    show(done.by_symbol, "Gain by symbol", as_json=False)
    show(done.by_cost, "Costs against the price that was decided on", as_json=False)
    own = frames["backtest_days"].filter(pl.col("subject") == done.subject.name)
    show(_months(own, done.cash_usd), "Return by month", as_json=False)
    click.echo(sample_sentence(run))
    if page:
        click.echo(f"Page: {page.absolute()}")


def _timing(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("way", "n_others", "p_return", "p_sharpe", "total_return_frac", "others_return_frac")


def _months(days: pl.DataFrame, opening_usd: float) -> pl.DataFrame:
    """Return years by months."""
    import polars as pl

    from cappuccino.validation.attribution import by_month

    name = pl.format("{}_return_frac", pl.date("year", "month", 1).dt.strftime("%b"))
    months = by_month(days.sort("closed_at_utc"), opening_usd).sort("month").with_columns(name=name)
    return months.pivot("name", index="year", values="return_frac").sort("year").cast({"year": pl.String})


def _as_json(done: Backtest, page: Path | None) -> dict[str, Any]:
    import polars as pl

    from cappuccino.validation.attribution import by_month
    from cappuccino.validation.backtest_record import frames_of

    frames = frames_of(done, done.stop)
    own = frames["backtest_days"].filter(pl.col("subject") == done.subject.name)
    return {
        "backtest": done.name,
        **frames["backtests"].row(0, named=True),
        "measures": frames["backtest_measures"].to_dicts(),
        "timing": frames["backtest_timing"].to_dicts(),
        "by_factor": done.by_factor.to_dicts(),
        "by_symbol": done.by_symbol.to_dicts(),
        "by_cost": done.by_cost.to_dicts(),
        "by_month": by_month(own, done.cash_usd).to_dicts(),
        "page": page.absolute() if page else None,
    }


def _costs(pairs: tuple[str, ...]) -> dict[str, str]:
    """Return the settings that KEY=NUMBER pairs ask for; what they say is checked with all other settings."""
    found = dict(pair.partition("=")[::2] for pair in pairs)
    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        raise ConfigError(f"--cost {wrong[0]!r} is not KEY=NUMBER such as fee_bps=10")
    return found


def _interval(text: str | None) -> Any:
    from cappuccino.errors import UnknownName
    from cappuccino.market.interval import Interval

    if text is None:
        return None
    try:
        return Interval(text)
    except ValueError:
        raise UnknownName(f"no interval {text!r}; choose one of {', '.join(Interval)}") from None
