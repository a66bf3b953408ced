"""Simple strategies are worth to the cent what a mature backtester says: equity at every bar, and every order."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel
from cappuccino.portfolio.costs import Costs
from cappuccino.risk.rules import Rules
from cappuccino.settings import CostSettings, RiskSettings
from cappuccino.validation.baselines import table_policy
from cappuccino.validation.evaluate import EpisodeResult, run

ROOT = Path(__file__).resolve().parents[3]
NO_RULES = Rules.of(RiskSettings(), CostSettings()).without_protection()
CASES = ("buy_and_hold", "weekly_rebalance", "weekly_rebalance_without_costs", "threshold_crossing")


@cache
def golden() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "tests/golden/vectorbt/equity.json").read_text())
    return found


@cache
def inputs() -> ModuleType:
    place = ROOT / "benchmarks/peers/vectorbt/inputs.py"
    spec = importlib.util.spec_from_file_location("vectorbt_inputs", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its own module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def episode(name: str) -> EpisodeResult:
    opened, close = inputs().bars()
    case = inputs().cases()[name]
    opened_at = np.datetime64("2025-01-01", "us") + np.arange(len(close)) * np.timedelta64(Interval.H1.us, "us")
    panel = BarPanel(
        Interval.H1,
        ("A/USD", "B/USD", "C/USD"),
        opened_at,
        open=opened,
        high=np.maximum(opened, close),
        low=np.minimum(opened, close),
        close=close,
        volume=np.ones_like(close),
        is_filled=np.zeros(close.shape, dtype=bool),
    )
    rules = replace(NO_RULES, costs=Costs(case.fee_bps, case.slippage_bps, min_order_usd=0.0))
    policy = table_policy(panel, 0, case.weights[:, None])
    return run(policy, panel, 0, len(panel), rules, cash_usd=inputs().CASH_USD)


def test_the_golden_file_is_of_these_bars_and_wishes():
    assert inputs().sha256() == golden()["sha256"]
    assert tuple(inputs().cases()) == tuple(golden()["cases"]) == CASES


@pytest.mark.parametrize("name", CASES)
def test_equity_agrees_with_vectorbt_at_every_bar(name):
    np.testing.assert_allclose(episode(name).equity_usd[:, 0], golden()["cases"][name]["equity_usd"], rtol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_orders_agree_with_vectorbt(name):
    ours, theirs = episode(name), golden()["cases"][name]["orders"]
    step, asset = np.nonzero(ours.units[:, 0])
    by_bar = np.lexsort((theirs["asset"], theirs["bar"]))  # it notes sales of a bar first
    np.testing.assert_array_equal(step + 1, np.array(theirs["bar"])[by_bar])
    np.testing.assert_array_equal(asset, np.array(theirs["asset"])[by_bar])
    for figure in ("units", "price_usd", "fee_usd"):
        expected = np.array(theirs[figure])[by_bar]
        np.testing.assert_allclose(getattr(ours, figure)[step, 0, asset], expected, rtol=1e-7, atol=1e-9)
