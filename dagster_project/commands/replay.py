"""`cappuccino replay`: the whole organisation over history."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import click

from cappuccino.commands.common import as_json_option, json_text, settings_of, show, timed_say, warehouse_of
from cappuccino.errors import ConfigError
from cappuccino.replay.plan import ReplayPlan, plan_replay, snapshot
from cappuccino.settings import Settings, utc
from dagster_project.commands.options import market_options, overrides_of, study_options

SHOWN = (
    "subject",
    "total_return_frac",
    "alpha_frac",
    "sharpe_annualized",
    "max_drawdown_frac",
    "volatility_annualized",
    "exposure_frac",
    "trades_per_month",
    "fees_usd",
    "slippage_usd",
)
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)([hd])")


class Length(click.ParamType[timedelta]):
    """A length of time such as 6h or 1d."""

    name = "length"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the length; ends the command when it is none."""
        found = _LENGTH.fullmatch(str(value))
        if found is None or not float(found[1]):
            self.fail(f"{value!r} is not a length such as 6h or 1d", param, ctx)
        return float(found[1]) * (timedelta(hours=1) if found[2] == "h" else timedelta(days=1))


@click.command()
@market_options
@click.option("--from", "start", required=True, help="First moment (UTC); what lies before is history to learn from.")
@click.option("--to", "end", required=True, help="Last moment (UTC).")
@click.option("--step", type=Length(), help="Virtual time between two looks at the market [default: 1d].")
@click.option("--retrain-every", type=Length(), help="Age of training data that starts a new study [default: 30d].")
@study_options
@click.option("--restart", is_flag=True, help="Throw away what an earlier replay of the same name has done.")
@as_json_option
@click.pass_context
def replay(
    ctx: click.Context,
    /,
    start: str,
    end: str,
    step: timedelta | None,
    retrain_every: timedelta | None,
    restart: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Live through history again: sync what was known, retrain when due, arena, sandbox, promotion, trading.

    The result is the equity curve of the system, all of it out of sample, beside the baselines. It has a warehouse of
    its own and decides nothing about the real models. Killed, the same command goes on where it was.
    """
    from cappuccino.replay.record import outcome
    from cappuccino.watch.replay import write_replay_report
    from dagster_project.replay import run_replay
    from dagster_project.resources import warehouse_of as main_warehouse

    say = timed_say()
    overrides = overrides_of(**options)
    pace = {
        "step_hours": step / timedelta(hours=1) if step else None,
        "retrain_every_days": retrain_every / timedelta(days=1) if retrain_every else None,
    }
    overrides["replay"] = {key: value for key, value in pace.items() if value is not None}
    settings = settings_of(ctx, overrides)
    plan = _plan(settings, utc(start), utc(end), say)
    main = main_warehouse(settings)
    say(
        f"{plan.replay}: {len(plan.moments)} moments from {plan.start:%F} to {plan.stop:%F}, "
        f"in {plan.settings.warehouse}"
    )
    run_replay(plan, main, say, restart=restart)
    report = write_replay_report(main, plan.replay, plan.settings.warehouse / "replay.html")
    with warehouse_of(settings).read() as reader:
        measures = outcome(reader, plan.replay)
    if as_json:
        click.echo(json_text({"replay": plan.replay, "measures": measures.to_dicts(), "report": report.absolute()}))
        return
    label = " (simulated market)" if plan.settings.is_simulated else ""
    show(measures.select(SHOWN), f"The system beside the baselines, {plan.replay}{label}", as_json=False)
    click.echo(f"Report: {report.absolute()}")


def _plan(settings: Settings, start: datetime, stop: datetime, say: Any) -> ReplayPlan:
    """Return the replay; bars of a venue are fetched first, so that nothing is asked for while it runs."""
    from assets.partitions import FIRST_DAY
    from cappuccino.market.source import RemoteSource
    from cappuccino.market.sources import clock_of, source_of
    from cappuccino.market.sync import sync_bars
    from dagster_project.resources import warehouse_of as main_warehouse

    source = source_of(settings)
    origin = source.name
    if isinstance(source, RemoteSource):
        now = clock_of(settings.market, source).now()
        if stop > now:
            raise ConfigError(f"--to {stop:%F %R} has not come yet; choose {now:%F} or earlier")
        main, first = main_warehouse(settings), start - timedelta(days=settings.market.history_days)
        sync_bars(
            main,
            source,
            settings.market,
            first,
            stop,
            now,
            only_missing=True,
            on_progress=lambda done: say(f"  {done}"),
        )
        settings = snapshot(main, settings, first, stop)
        source = source_of(settings)
    plan = plan_replay(settings, source, start, stop, origin)
    if f"{plan.first_open:%F}" < FIRST_DAY:
        raise ConfigError(
            f"history would begin on {plan.first_open:%F}, and days of bars begin with {FIRST_DAY}; "
            "choose a later --from, or fewer market.history_days"
        )
    return plan
