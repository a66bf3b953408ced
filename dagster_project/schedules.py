"""When, by the clock."""

import dagster as dg

from assets.partitions import daily
from dagster_project.jobs import trading_job


@dg.schedule(job=trading_job, cron_schedule="5 * * * *", name="hourly_trading")
def hourly_trading(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Five minutes past every hour: yesterday's and today's bars, and paper trading on them."""
    keys = daily.get_partition_keys(current_time=context.scheduled_execution_time)[-2:]
    return dg.RunRequest(
        run_key=context.scheduled_execution_time.isoformat(),
        tags={"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]},
    )


SCHEDULES = (hourly_trading,)
