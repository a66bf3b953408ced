"""What the commands share: settings from the command line, and results as tables, JSON or CSV."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cappuccino.settings import Settings, load

if TYPE_CHECKING:
    import polars as pl

    from cappuccino.registry.identity import ModelId
    from cappuccino.store.warehouse import Reader, Warehouse

PLAIN_WIDTH = 220
"""Columns of a table that goes to a file or a pipe: wide enough for names of models."""
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def settings_of(ctx: click.Context, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings that the group's options and this command's `overrides` ask for."""
    shared = dict(ctx.find_root().obj)
    return load(shared.pop("config", None), {**shared, **(overrides or {})})


def warehouse_of(settings: Settings, timeout_s: float = 60.0) -> Warehouse:
    """Return the warehouse, which must have been made by a run, and by no newer Cappuccino.

    `timeout_s` is how long it waits for a busy one.
    """
    from cappuccino.errors import WarehouseError
    from cappuccino.store.migrate import refuse_newer
    from cappuccino.store.warehouse import Warehouse

    if not settings.database.is_file():
        raise WarehouseError(
            f"no warehouse in {settings.warehouse}; make one with `cappuccino run`, or choose another with --warehouse"
        )
    warehouse = Warehouse(settings.database, timeout_s=timeout_s)
    with warehouse.read() as reader:
        refuse_newer(reader)
    return warehouse


def present(reader: Reader) -> datetime:
    """Return the moment that commands decide at: now, at most where the record ends."""
    from cappuccino.market.sources import present_clock

    return present_clock(reader).now()


def timed_say() -> Callable[[str], None]:
    """Return a function that tells the user a line of progress, with the seconds since this call."""
    started_s = time.monotonic()

    def say(line: str) -> None:
        click.echo(f"[{time.monotonic() - started_s:5.0f} s] {line}", err=True)

    return say


def show(frame: pl.DataFrame, title: str, *, as_json: bool, empty: str = "nothing there yet") -> None:
    """Print rows as a table, or as a JSON list."""
    if as_json:
        click.echo(json_text(frame.to_dicts()))
    elif frame.is_empty():
        click.echo(f"{title}: {empty}")
    else:
        from rich.console import Console

        from cappuccino.watch.tables import as_table

        Console(width=None if Console().is_terminal else PLAIN_WIDTH).print(as_table(frame, title))


def market_label(reader: Reader) -> str:
    """Return what a title has to add when bars of this warehouse never traded."""
    invented = reader.one("select count(*) from market.freshness where source = 'simulated'")
    return " (simulated market)" if invented and invented[0] else ""


def production_figures(reader: Reader) -> pl.DataFrame:
    """Return production's paper measures, then those of the baselines on the same bars; the best baseline first."""
    return reader.query(
        """
        select
            if(trial < 0, lab.evaluations.subject, study || '/' || trial) as subject,
            total_return_frac, alpha_frac, sharpe_annualized, max_drawdown_frac, exposure_frac,
            trades_per_month, fees_usd, slippage_usd, from_utc, to_utc
        from lab.evaluations
        where scope = 'paper' and (study, paper_of) in (select (study, trial) from promotion.production)
        order by trial < 0, total_return_frac desc
        """
    )


def verdicts(reader: Reader) -> pl.DataFrame:
    """Return what the studies of the newest holdout are worth above cash and above buy-and-hold; none before."""
    return reader.query(
        """
        select
            kind, benchmark as above, verdict, deflated_sharpe, pbo,
            sharpe_daily_365 as folds_sharpe_daily_365, holdout_sharpe_daily_365, mean_decay
        from lab.judged
        inner join lab.overfitting using (study)
        order by list_position(['training', 'trees', 'ensemble'], kind), benchmark desc
        """
    )


def json_text(value: Any, indent: int | None = 2) -> str:
    """Return JSON with ISO times; what JSON cannot say (NaN, infinity) becomes null."""
    return json.dumps(_plain(value), indent=indent, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def model_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the MODEL argument, STUDY/TRIAL."""
    return click.argument("model", metavar="STUDY/TRIAL")(function)


def known_model(warehouse: Warehouse, text: str) -> ModelId:
    """Return the model that `text` names; raises UnknownName when none of that name was trained."""
    from cappuccino.errors import UnknownName
    from cappuccino.registry.identity import ModelId

    model = ModelId.parse(text)
    rows = warehouse.query(
        "select study || '/' || trial as model from lab.trials where artifact is not null order by score desc"
    )
    if str(model) not in rows["model"].to_list():
        some = ", ".join(rows["model"].head(5)) or "none yet"
        raise UnknownName(f"no trained model {model}; models are named STUDY/TRIAL, the best are: {some}")
    return model
