"""When, by the facts of the data: stale bars sync, stale training data train. Off until somebody turns them on."""

from datetime import timedelta

import dagster as dg

from assets.partitions import daily
from cappuccino.clock import Clock
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.watch.staleness import staleness
from dagster_project.jobs import trading_job, whole_life_job

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
        found = staleness(reader, settings, now)
    if not found.bars_are_stale:
        return dg.SkipReason(f"bars are known until {found.bars_known_until}")
    since = found.bars_known_until or now - timedelta(days=settings.market.history_days)
    # One request for each state of the data: a sync that brings nothing is not repeated until an interval later.
    run_key = f"bars-{since:%Y%m%dT%H%M}-{settings.market.base_interval.floor(now):%Y%m%dT%H%M}"
    tags = {
        "dagster/asset_partition_range_start": f"{since:%Y-%m-%d}",
        "dagster/asset_partition_range_end": daily.get_partition_keys(current_time=now)[-1],
    }
    return dg.RunRequest(run_key=run_key, tags=tags)


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
        found = staleness(reader, settings, now)
    if found.bars_are_stale:
        return dg.SkipReason("bars are stale; they have to be synced first")
    if not found.training_is_stale:
        return dg.SkipReason(f"training data reach until {found.trained_until}")
    studies = dg.RunsFilter(job_name=whole_life_job.name, statuses=UNDER_WAY)
    if context.instance.get_runs_count(studies):
        return dg.SkipReason("a study is under way; there are never two at once")
    # Just after midnight the newest day has no closed bar yet.
    first, last = daily.get_partition_keys(current_time=now)[-2:]
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    # A study that fails is tried again the next day, not at the next tick.
    return dg.RunRequest(run_key=f"training-{found.trained_until}-{now:%Y%m%d}", tags=tags)


SENSORS = (stale_bars, stale_training)
