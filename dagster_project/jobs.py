"""The runs that people and sensors start."""

from __future__ import annotations

import dagster as dg

from assets.tables import key_of

PAPER = ("desk.accounts", "desk.equity", "desk.fills", "promotion.decisions")
REPORT = "ops.report"


def _selection(*tables: str) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*(key_of(table) for table in tables))


def whole_life() -> dg.AssetSelection:
    """Everything but the report, which looks back on it."""
    return dg.AssetSelection.all() - _selection(REPORT, "ops.syncs", "ops.data_quality")


def trading() -> dg.AssetSelection:
    """New bars, their checks, paper trading on them, and the verdicts."""
    return _selection("market.bars", "market.bars_all", *PAPER)


whole_life_job = dg.define_asset_job(
    "whole_life", whole_life(), description="From bars to decisions: the whole life of a model, once."
)
trading_job = dg.define_asset_job("trading", trading(), description="New bars, and sandbox and production trade them.")
report_job = dg.define_asset_job(
    "report", _selection(REPORT), description="The HTML report of the warehouse as it stands."
)

JOBS = (whole_life_job, trading_job, report_job)
