"""The runs that people and sensors start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets import arena, currency_checks, desk, judgement, trader
from assets.records import DEPS
from assets.tables import key_of
from cappuccino.market.quality import MEANINGS

ONLY_MISSING: Mapping[str, Any] = {"ops": {"market_bars": {"config": {"only_missing": True}}}}
"""Run configuration of whoever wants bars up to date, and not every bar of the range asked for again."""
BARS = ("market.bars", "market.bars_all", "market.days", "market.absences", "market.fingerprints")
BLOCKING = tuple(dg.AssetCheckKey(key_of("market.bars"), name) for name in MEANINGS)
PAPER = (*trader.TABLES, *desk.TABLES, *desk.SYSTEM, "promotion.decisions")
REPORT = "ops.report"


def _selection(*tables: str) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*(key_of(table) for table in tables))


def whole_life() -> dg.AssetSelection:
    """Everything but the report, which looks back on it, and the replays, which are another life."""
    return dg.AssetSelection.all() - _selection(REPORT, *DEPS) - dg.AssetSelection.groups("replay")


def trading() -> dg.AssetSelection:
    """New bars, their checks, paper trading on them, and the verdicts."""
    return _selection(*BARS, "market.books", *PAPER) | dg.AssetSelection.checks(*currency_checks.KEYS)


def matches() -> dg.AssetSelection:
    """Matches of candidates that wait, the verdicts, and the holdouts that may be opened then."""
    return _selection(*arena.TABLES, *PAPER, *judgement.TABLES)


def decisive(selection: dg.AssetSelection) -> dg.AssetSelection:
    """Return the selection without what is only looked at: coverage, and checks that nothing waits for.

    Nor has the trader anything to do with it: what it does now is not what was done then.
    """
    looked_at = _selection("market.days", "market.absences") | dg.AssetSelection.all_asset_checks()
    return (selection - looked_at - _selection(*trader.TABLES)) | dg.AssetSelection.checks(*BLOCKING)


whole_life_job = dg.define_asset_job(
    "whole_life", whole_life(), description="From bars to decisions: the whole life of a model, once."
)
trading_job = dg.define_asset_job("trading", trading(), description="New bars, and sandbox and production trade them.")
matches_job = dg.define_asset_job("matches", matches(), description="Candidates that wait enter the arena and fight.")
trader_job = dg.define_asset_job(
    "trader", _selection(*trader.TABLES), description="What the trader has done comes into the warehouse."
)
report_job = dg.define_asset_job(
    "report", _selection(REPORT), description="The HTML report of the warehouse as it stands."
)

JOBS = (whole_life_job, trading_job, matches_job, trader_job, report_job)

REPLAYED: Mapping[str, dg.AssetSelection] = {
    "whole_life": decisive(whole_life()),
    "trading": decisive(trading()),
    "matches": matches() - dg.AssetSelection.all_asset_checks() - _selection(*trader.TABLES),
}
"""What a replay runs of each job: the same decisions, made from the same assets."""
