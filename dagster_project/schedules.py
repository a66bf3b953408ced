"""When, by the clock."""

import dagster as dg

from assets.partitions import daily
from cappuccino.clock import Clock
from dagster_project.jobs import ONLY_MISSING, trading_job


@dg.schedule(job=trading_job, cron_schedule="5 * * * *", name="hourly_trading")
def hourly_trading(context: dg.ScheduleEvaluationContext, clock: dg.ResourceParam[Clock]) -> dg.RunRequest:
    """Five minutes past every hour: yesterday's and today's bars, and paper trading on them."""
    # On a record that has ended it is always the same moment: one run, and then none, for they have the same key.
    now = min(context.scheduled_execution_time, clock.now())
    keys = daily.get_partition_keys(current_time=now)[-2:]
    return dg.RunRequest(
        run_key=now.isoformat(),
        run_config=ONLY_MISSING,
        tags={"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]},
    )


SCHEDULES = (hourly_trading,)
