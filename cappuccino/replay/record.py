"""The replay as the main warehouse keeps it: how far it has come, what it did and decided, what it was worth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import polars as pl

from cappuccino.registry.version import code_version
from cappuccino.replay.plan import ReplayPlan
from cappuccino.store.warehouse import Reader, Warehouse, Writer

Job = Literal["trading", "whole_life", "matches"]
TIME = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Standing:
    """How far a replay has come."""

    moment: datetime | None
    """Newest finished moment."""
    begun: Mapping[tuple[datetime, Job], str]
    """Jobs that were under way when it was stopped, and why: they are run again, due or not."""
    is_complete: bool


def open_replay(warehouse: Warehouse, plan: ReplayPlan) -> Standing:
    """Record the replay if it is new, and return how far it has come."""
    with warehouse.write() as writer:
        known = writer.one("select moment_utc, state from replay.runs where replay = $replay", replay=plan.replay)
        if known is None:
            writer.append("replay.runs", _run_row(plan))
            return Standing(None, {}, False)
        begun = writer.query(
            "select moment_utc, job, reason from replay.steps where replay = $replay and state = 'started'",
            replay=plan.replay,
        )
    reasons = {(moment, job): reason for moment, job, reason in begun.iter_rows()}
    return Standing(known[0], reasons, known[1] == "complete")


def forget(warehouse: Warehouse, replay: str) -> None:
    """Remove every row of a replay, so that it begins anew."""
    with warehouse.write() as writer:
        for table in ("runs", "steps", "equity", "measures", "decisions"):
            writer.execute(f"delete from replay.{table} where replay = $replay", replay=replay)


def note_step(
    warehouse: Warehouse,
    plan: ReplayPlan,
    moment: datetime,
    job: Job,
    state: Literal["started", "done", "stopped"],
    reason: str,
    detail: str = "",
    duration_s: float = 0.0,
) -> None:
    """Record a job of a moment, before it runs and after."""
    row = {
        "replay": plan.replay,
        "moment_utc": moment,
        "job": job,
        "state": state,
        "reason": reason,
        "detail": detail,
        "duration_s": duration_s,
    }
    with warehouse.write() as writer:
        writer.upsert("replay.steps", pl.DataFrame([row], schema_overrides={"moment_utc": TIME}))


def close_moment(warehouse: Warehouse, plan: ReplayPlan, moment: datetime, duration_s: float) -> None:
    """Copy what the replay's own warehouse holds by now, and mark the moment as finished; one transaction."""
    with Warehouse(plan.settings.database).read() as own:
        decisions = own.query("from promotion.decisions")
        curves = own.query("select subject, closed_at_utc, value_usd from desk.system_baselines")
        measures = own.query("from desk.system_measures")
    opening = (
        curves.select("subject")
        .unique(maintain_order=True)
        .with_columns(
            pl.lit(plan.start).cast(TIME).alias("closed_at_utc"),
            pl.lit(plan.settings.sandbox.cash_usd).alias("value_usd"),
        )
    )
    curves = pl.concat([opening, curves])
    with warehouse.write() as writer:
        for table, rows in (("decisions", decisions), ("equity", curves), ("measures", measures)):
            _replace(writer, f"replay.{table}", plan.replay, rows)
        writer.execute(
            """
            update replay.runs set
                moment_utc = $moment,
                duration_s = duration_s + $seconds,
                state = if($moment >= to_utc, 'complete', 'running')
            where replay = $replay
            """,
            moment=moment,
            seconds=duration_s,
            replay=plan.replay,
        )


def outcome(reader: Reader, replay: str) -> pl.DataFrame:
    """Return the measures of the system, then those of the baselines, the best of them first."""
    return reader.query(
        "select * exclude (replay) from replay.measures where replay = $replay "
        "order by subject <> 'system', total_return_frac desc",
        replay=replay,
    )


def _replace(writer: Writer, table: str, replay: str, rows: pl.DataFrame) -> None:
    own = rows.select(pl.lit(replay).alias("replay"), pl.all())
    writer.replace(table, own, "replay = $replay", replay=replay)


def _run_row(plan: ReplayPlan) -> pl.DataFrame:
    settings = plan.settings
    row = {
        "replay": plan.replay,
        "state": "running",
        "from_utc": plan.start,
        "to_utc": plan.stop,
        "moment_utc": None,
        "step_hours": settings.replay.step_hours,
        "retrain_every_days": settings.replay.retrain_every_days,
        "source": plan.source,
        "is_simulated": settings.is_simulated,
        "symbols": list(settings.market.symbols),
        "profile": settings.profile,
        "code_version": code_version(),
        "warehouse": str(settings.warehouse),
        "settings": json.dumps(settings.model_dump(mode="json")),
        "duration_s": 0.0,
    }
    return pl.DataFrame([row], schema_overrides=dict.fromkeys(("from_utc", "to_utc", "moment_utc"), TIME))
