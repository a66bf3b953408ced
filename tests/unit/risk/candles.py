"""Rules on candles drawn as text, without costs, with 1,000 USD.

A row is a bar. `want` is the weight (or weights) decided at its close; `units`, `cash` and `rule` tell what
the orders of the bar before became at this bar's open.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch

from cappuccino.portfolio import engine
from cappuccino.portfolio.account import open_accounts
from cappuccino.portfolio.conditions import Conditions
from cappuccino.portfolio.costs import Costs
from cappuccino.risk.rules import Limits, Rule, Rules
from cappuccino.settings import CostSettings, RiskSettings

HOUR_US = 3_600_000_000
NO_RULES = dataclasses.replace(
    Rules.of(RiskSettings(), CostSettings()).without_protection(), costs=Costs(0.0, 0.0, 10.0)
)


def each(*values: float) -> torch.Tensor:
    """Return one number for each symbol."""
    return torch.tensor(values, dtype=torch.float64)


def conditions_of(n_assets: int, *figures: tuple[float, ...]) -> Conditions | None:
    """Return the market's conditions; None when there are no figures at all."""
    if not any(figures):
        return None
    usual = (1.0, 1.0, 0.0)
    sigma, restlessness, correlation = (
        each(*(own or (one,) * n_assets)) for own, one in zip(figures, usual, strict=True)
    )
    return Conditions(sigma * 1e9, sigma, restlessness, correlation)


def check(
    table: str,
    sigma: tuple[float, ...] = (),
    restlessness: tuple[float, ...] = (),
    correlation: tuple[float, ...] = (),
    hours: int = 1,
    **thresholds: float | bool | torch.Tensor | Limits,
) -> None:
    """Trade the table under `thresholds`, one row every `hours`, and compare every row.

    The market has volatility `sigma` a day, and `restlessness` and `correlation`; 1, 1 and 0 where only others are
    given. The first decision is one row after midnight.
    """
    rows = [[cell.split() for cell in line.split("|")] for line in table.strip().splitlines()[1:]]
    opens, closes, wants = (
        [torch.tensor([[float(x) for x in row[i]]], dtype=torch.float64) for row in rows] for i in range(3)
    )
    rules = dataclasses.replace(NO_RULES, **thresholds)
    conditions = conditions_of(opens[0].shape[1], sigma, restlessness, correlation)
    row_us = hours * HOUR_US
    accounts = open_accounts(1, opens[0].shape[1], 1_000.0)
    for t in range(1, len(rows)):
        accounts, step = engine.step(
            accounts, wants[t - 1], closes[t - 1], opens[t], closes[t], t * row_us, t * row_us, rules, conditions
        )
        units, cash, fired = rows[t][3:]
        where = f"row {t}: {rows[t]}"
        assert accounts.units[0].tolist() == pytest.approx([float(x) for x in units], abs=1e-3), where
        assert accounts.cash_usd.item() == pytest.approx(float(cash[0]), abs=1e-2), where
        expected = sum(Rule[name] for name in fired if name != "-")
        assert Rule(step.rules.item()) == Rule(expected), where
