"""Days of bars: the one partitioning of the project."""

from __future__ import annotations

import dagster as dg

FIRST_DAY = "2020-01-01"
"""Earliest day that can be backfilled."""

# The end offset makes the day in progress a partition too: its closed bars are wanted before midnight.
daily = dg.DailyPartitionsDefinition(start_date=FIRST_DAY, end_offset=1)
