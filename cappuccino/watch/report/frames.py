"""Everything that the report shows, read from the warehouse in one go."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import polars as pl

from cappuccino.market.interval import Interval
from cappuccino.market.record import Queries, state
from cappuccino.settings import Settings

_MAX_CLOSES = 5_000
Frames = Mapping[str, pl.DataFrame]
QUERIES: Mapping[str, str] = MappingProxyType(
    {
        "stages": "select * from promotion.stages",
        "production": "select * from promotion.production",
        "history": "select * from promotion.history",
        "performance": "select * from desk.performance",
        "equity": """
            select study, trial, closed_at_utc, stage, value_usd, benchmark_usd, exposure_frac, cash_usd
            from desk.equity
            inner join desk.accounts using (study, trial)
        """,
        "paper": "select * from lab.evaluations where scope = 'paper'",
        "ladder": "select * from arena.ladder",
        "matches": "select * from arena.matches order by sequence desc",
        # All of these studies share a holdout.
        "judged": "select * from lab.judged",
        "verdicts": """
            select * from lab.judged
            inner join lab.overfitting using (study)
            order by list_position(['training', 'trees', 'ensemble'], kind), benchmark desc
        """,
        "beside": "select * from lab.leaderboard where study in (select study from lab.judged)",
        "ensembles": "select * from lab.ensembles_beside_single where study in (select study from lab.judged)",
        "gates": "select * from arena.gates where study in (select study from lab.judged)",
        # Of the newest study with completed trials: one that has just begun does not empty the page.
        "leaderboard": """
            select * from lab.leaderboard
            where study = (
                select arg_max(study, as_of_utc) from lab.studies
                where kind = 'training' and study in (select study from lab.leaderboard where not is_baseline)
            )
            order by rank, subject
        """,
        "timeframes": """
            select * from lab.timeframes
            where study = (select arg_max(study, as_of_utc) from lab.studies where kind = 'timeframe')
        """,
        "trials": """
            select study, trial, state, score from lab.trials
            where study = (select arg_max(study, as_of_utc) from lab.studies where kind = 'training')
        """,
        "learning": """
            select * from lab.learning_curves
            where study = (select arg_max(study, as_of_utc) from lab.studies where kind = 'training')
        """,
        "figures": """
            select * from lab.trial_figures
            where study = (select arg_max(study, as_of_utc) from lab.studies where kind = 'training')
            order by score desc nulls last, trial
        """,
        "studies": "select * from lab.study_progress",
        "importances": """
            select * from lab.importances
            where study = (
                select arg_max(study, as_of_utc) from lab.studies
                where study in (select study from lab.importances)
            )
            order by importance_frac desc
        """,
        "freshness": "select * from market.freshness",
        "days": "select * from market.days",
        "holes": """
            select
                symbol,
                min(opened_at_utc) as first_absent_utc,
                max(opened_at_utc) as last_absent_utc,
                count(*) as lost_bars
            from market.absences
            where not is_halt
            group by symbol, run_after_utc
            order by lost_bars desc, symbol, first_absent_utc
        """,
        "closes": """
            select symbol, closed_at_utc, close, is_filled from market.bars_all
            where interval = $interval
            order by symbol, closed_at_utc
        """,
    }
)


def read_frames(reader: Queries, settings: Settings) -> dict[str, pl.DataFrame]:
    """Return every query's rows and the verdict about the bars, by name; raises WarehouseError as the reader does."""
    frames = {name: reader.query(sql) for name, sql in QUERIES.items() if "$" not in sql}
    interval = closes_interval(settings)
    closes = reader.query(QUERIES["closes"], interval=interval.value)
    return {**frames, "closes": closes, "quality": state(reader, settings.market)}


def closes_interval(settings: Settings) -> Interval:
    """Return the shortest stored interval whose closes still fit into one plot."""
    base = settings.market.base_interval
    longer = sorted((i for i in Interval if i.us >= base.us), key=lambda i: i.us)
    fitting = [i for i in longer if settings.market.history_days * i.per_day <= _MAX_CLOSES]
    return (fitting or longer[-1:])[0]
