"""`cappuccino thresholds`: a grid of the risk rules' thresholds on one subject, and what its best is worth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cappuccino.commands.common import as_json_option, json_text, present, settings_of, show, timed_say, warehouse_of
from cappuccino.errors import ConfigError
from cappuccino.settings import utc

if TYPE_CHECKING:
    import polars as pl

    from cappuccino.watch.thresholds import ThresholdRows

SHOWN = ("sharpe_daily_365", "total_return_frac", "max_drawdown_frac")
SHOWN_SYMBOL = ("symbol", "today_frac", "stop_loss_frac", "sharpe_daily_365", "gain_sharpe_daily_365")


def _values_option(flag: str, about: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(flag, metavar="NUMBER,...", help=f"{about}, comma-separated; off or 0 switches it off.")


@click.command()
@click.argument("subject")
@click.option("--from", "start", help="When the accounts open (UTC) [default: where the model's training ended].")
@click.option("--to", "end", help="End of the range (UTC) [default: where the holdout begins, the latest there is].")
@_values_option("--trailing-stop", "Falls of the portfolio that sell everything")
@_values_option("--profit-take", "Gains of the portfolio that sell half")
@_values_option("--stop-loss", "Falls of a position below its entry that sell it")
@_values_option("--position-trailing-stop", "Falls of a position below its peak that sell it")
@click.option("--fixed", "unit", flag_value="fixed", help="The numbers are fractions [default: what today's are].")
@click.option("--scaled", "unit", flag_value="scaled", help="The numbers are multiples of the volatility of a day.")
@click.option("--both", "unit", flag_value="both", help="The usual grid in both units [default without numbers].")
@click.option("--by-symbol", is_flag=True, help="Try stop-losses for each symbol alone, too.")
@click.option("--no-page", is_flag=True, help="Do not write the HTML page.")
@as_json_option
@click.pass_context
def thresholds(
    ctx: click.Context,
    /,
    subject: str,
    start: str | None,
    end: str | None,
    unit: str | None,
    by_symbol: bool,
    no_page: bool,
    as_json: bool,
    **numbers: str | None,
) -> None:
    """Try many thresholds of the risk rules on one subject, and say whether the best is more than luck.

    SUBJECT is STUDY/TRIAL, production, ensemble or the name of a baseline. All points of the grid trade at once, each
    with an account of its own; today's settings are always one of them. The range ends before the holdout. Stored in
    lab.threshold_studies and lab.thresholds; the same command replaces its result.
    """
    from cappuccino.validation.threshold_choice import choose_thresholds
    from cappuccino.validation.threshold_grid import Unit
    from cappuccino.validation.thresholds_record import store_thresholds
    from cappuccino.watch.thresholds import read_thresholds, write_thresholds_page

    say = timed_say()
    settings = settings_of(ctx)
    warehouse = warehouse_of(settings)
    with warehouse.read() as reader:
        now = present(reader)
    choice = choose_thresholds(
        subject,
        warehouse,
        settings,
        now,
        utc(start) if start else None,
        utc(end) if end else None,
        values=_values(numbers),
        unit=Unit(unit) if unit else None,
        by_symbol=by_symbol,
        say=say,
    )
    name = store_thresholds(warehouse, choice, now)
    page = (
        None if no_page else write_thresholds_page(warehouse, name, settings.warehouse / "thresholds" / f"{name}.html")
    )
    with warehouse.read() as reader:
        found = read_thresholds(reader, name)
    if as_json:
        click.echo(json_text(_as_json(found, page)))
    else:
        _print(found, page)


def _print(found: ThresholdRows, page: Path | None) -> None:
    from cappuccino.validation.thresholds_record import by_symbol
    from cappuccino.watch.thresholds import FIRED, best_of, threshold_columns, told

    run = found.run
    label = " (simulated market)" if found.is_simulated else ""
    title = f"Thresholds for {run['subject']}, {run['from_utc']:%F %R} to {run['to_utc']:%F %R}{label}"
    symbols = by_symbol(found.header, found.points)
    who = () if symbols.is_empty() else ("symbol",)
    columns = ("place", "settings", *threshold_columns(), *who, *SHOWN, *FIRED.values())
    show(best_of(found.points).select(columns), title, as_json=False)
    if not symbols.is_empty():
        show(symbols.select(SHOWN_SYMBOL), "The best stop-loss of all symbols, and of each alone", as_json=False)
    for sentence in told(run):
        click.echo(sentence)
    if page:
        click.echo(f"Page: {page.absolute()}")


def _as_json(found: ThresholdRows, page: Path | None) -> dict[str, Any]:
    from cappuccino.validation.thresholds_record import by_symbol

    return {
        **found.run,
        "points": _plain(found.points),
        "by_symbol": _plain(by_symbol(found.header, found.points)),
        "page": page.absolute() if page else None,
    }


def _plain(rows: pl.DataFrame) -> list[dict[str, Any]]:
    return rows.drop("threshold_study", strict=False).to_dicts()


def _values(numbers: dict[str, str | None]) -> dict[str, tuple[float, ...]]:
    """Return the numbers of each threshold that were given; what they mean is checked with the grid."""
    from cappuccino.validation.threshold_grid import OPTIONS

    given = {name: numbers[option.replace("-", "_")] for name, option in OPTIONS.items()}
    return {name: _numbers(OPTIONS[name], text) for name, text in given.items() if text is not None}


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(0.0 if each.strip() == "off" else float(each) for each in text.split(","))
    except ValueError:
        raise ConfigError(f"--{option} {text!r} is not numbers such as off,0.015,0.03") from None
