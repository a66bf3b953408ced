"""When, by the facts of the data: stale bars sync, stale training data train. Off until somebody turns them on.

What is due is decided by `cappuccino.watch.due`, which a replay of history asks as well.
"""

from datetime import timedelta

import dagster as dg

from assets.partitions import daily
from cappuccino.clock import Clock
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.trading.ledger_frames import ledger_at
from cappuccino.trading.mirror import is_behind
from cappuccino.watch.due import arena_due, trading_due, training_due
from dagster_project.jobs import ONLY_MISSING, matches_job, trader_job, trading_job, whole_life_job

UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dg.sensor(job=trading_job, minimum_interval_seconds=60)
def stale_bars(
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.RunRequest | dg.SkipReason:
    """Newest bar older than two intervals and the grace time: sync, and let the desk trade."""
    now = clock.now()
    with warehouse.read() as reader:
        due = trading_due(reader, settings, now)
    if not due.is_due:
        return dg.SkipReason(due.reason)
    market = settings.market
    since = due.since or market.start or now - timedelta(days=market.history_days)
    # One request for each state of the data: a sync that brings nothing is not repeated until an interval later.
    run_key = f"bars-{since:%Y%m%dT%H%M}-{market.base_interval.floor(now):%Y%m%dT%H%M}"
    tags = {
        "dagster/asset_partition_range_start": f"{since:%Y-%m-%d}",
        "dagster/asset_partition_range_end": daily.get_partition_keys(current_time=now)[-1],
    }
    return dg.RunRequest(run_key=run_key, tags=tags, run_config=ONLY_MISSING)


@dg.sensor(job=whole_life_job, minimum_interval_seconds=600)
def stale_training(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.RunRequest | dg.SkipReason:
    """Newest trained-on bar older than a week: a new study, its arena, and its promotions."""
    now = clock.now()
    with warehouse.read() as reader:
        due = training_due(reader, settings, now)
    if not due.is_due:
        return dg.SkipReason(due.reason)
    if _under_way(context):
        return dg.SkipReason("a study is under way; there are never two at once")
    # Just after midnight the newest day has no closed bar yet.
    first, last = daily.get_partition_keys(current_time=now)[-2:]
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    # A study that fails is tried again the next day, not at the next tick.
    return dg.RunRequest(run_key=f"training-{due.since}-{now:%Y%m%d}", tags=tags, run_config=ONLY_MISSING)


@dg.sensor(job=matches_job, minimum_interval_seconds=300)
def waiting_candidates(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.RunRequest | dg.SkipReason:
    """Completed trials that never entered the arena, as after a run that broke off: let them fight."""
    now = clock.now()
    with warehouse.read() as reader:
        due = arena_due(reader, settings, now)
    if not due.is_due:
        return dg.SkipReason(due.reason)
    if _under_way(context):
        return dg.SkipReason("a study is under way, and its arena follows it")
    # A run that fails is tried again an hour later.
    return dg.RunRequest(run_key=f"arena-{due.since}-{due.reason}-{now:%Y%m%dT%H}")


# A copy decides nothing, so nobody has to switch it on.
@dg.sensor(job=trader_job, minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING)
def trader_news(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.RunRequest | dg.SkipReason:
    """The trader has written something that the warehouse has not got: copy it."""
    with ledger_at(settings.desk) as ledger:
        if ledger is None:
            return dg.SkipReason("no trader has run on this warehouse")
        version = ledger.version
        with warehouse.read() as reader:
            is_news = is_behind(reader, ledger)
    if not is_news:
        return dg.SkipReason(f"the ledger is copied up to its version {version}")
    if _under_way(context, trader_job.name):
        return dg.SkipReason("a copy is under way")
    return dg.RunRequest(run_key=f"trader-{version}")


def _under_way(context: dg.SensorEvaluationContext, job: str = whole_life_job.name) -> bool:
    runs = dg.RunsFilter(job_name=job, statuses=UNDER_WAY)
    return bool(context.instance.get_runs_count(runs))


SENSORS = (stale_bars, stale_training, waiting_candidates, trader_news)
