"""Which thresholds of the risk rules would have served best: a whole grid in one run, one account for each.

    study = threshold_study(agent.policy(panel), panel, start, stop, rules, grid(stop_loss_frac=(0.0, 0.05, 0.1)))

The best of a grid is the luckiest too. `daily_returns` are what the figures against overfitting ask for, with every
point of the grid as a trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from cappuccino.errors import ConfigError
from cappuccino.market.panel import BarPanel, FloatArray
from cappuccino.portfolio.account import Accounts
from cappuccino.portfolio.measures import daily_returns
from cappuccino.risk.rules import Rule, Rules
from cappuccino.validation.baselines import benchmark_returns
from cappuccino.validation.evaluate import EpisodeResult, Policy, run

OF_PORTFOLIO = ("portfolio_trailing_stop_frac", "profit_take_frac", "move_to_cash_frac", "protection_scaled")
OF_POSITIONS = ("stop_loss_frac", "position_trailing_stop_frac", "position_scaled")
NAMES = (*OF_PORTFOLIO, *OF_POSITIONS)
"""Fields of `Rules` that a study may vary."""
FLAGS = ("protection_scaled", "position_scaled")
MAX_TAPE_MB = 512
"""Memory for what the accounts of one run report; a grid that needs more is run in parts."""
_TAPE_ROWS = 8  # arrays (T, N, A) of an episode

Point = Mapping[str, float | bool]


@dataclass(frozen=True)
class ThresholdStudy:
    """What each of N points of a grid did over T bars."""

    frame: pl.DataFrame
    """One row per point, in the grid's order: its thresholds, all `Measures`, and for each rule the number of bars that
    it fired on (`n_stop_loss`)."""
    daily_returns: FloatArray
    """(days, N) net returns of whole days."""


def grid(**values: Sequence[float | bool]) -> list[Point]:
    """Return every combination of `values`, which are by name of `NAMES`; raises ConfigError on another name."""
    unknown = sorted(values.keys() - set(NAMES))
    if unknown:
        raise ConfigError(f"{', '.join(unknown)}: no threshold; choose from {', '.join(NAMES)}")
    return [dict(zip(values, point, strict=True)) for point in product(*values.values())]


def threshold_study(
    policy: Policy,
    panel: BarPanel,
    start: int,
    stop: int,
    rules: Rules,
    points: Sequence[Point],
    *,
    cash_usd: float = 10_000.0,
    max_tape_mb: float = MAX_TAPE_MB,
) -> ThresholdStudy:
    """Let `policy` trade rows [start, stop) of `panel` once under each of `points`, which replace numbers of `rules`.

    The policy decides for all accounts at once, or for none in particular: (1, A). An agent's figures may differ from
    those of a run alone in the last bits, as matrix products of other heights may. Raises what `run` raises, and
    ConfigError for an empty grid.
    """
    if not points:
        raise ConfigError("a threshold study needs at least one point; see `grid`")
    benchmark = benchmark_returns(panel, start, stop)
    account_mb = _TAPE_ROWS * 8 * (stop - start) * len(panel.symbols) / 2**20
    n_at_once = max(1, int(max_tape_mb / account_mb))
    rows: list[dict[str, Any]] = []
    days: list[FloatArray] = []
    for first in range(0, len(points), n_at_once):
        part = points[first : first + n_at_once]
        own, decide = rules_of(rules, part), _for_all(policy, len(part))
        episode = run(decide, panel, start, stop, own, n_accounts=len(part), cash_usd=cash_usd)
        for n, point in enumerate(part):
            rows.append({**_numbers(rules, point), **asdict(episode.measures(n, benchmark)), **_fired(episode, n)})
            days.append(daily_returns(episode.returns[:, n], panel.interval))
    return ThresholdStudy(pl.DataFrame(rows), np.stack(days, axis=1))


def rules_of(rules: Rules, points: Sequence[Point]) -> Rules:
    """Return `rules` for one account per point, with the points' numbers as tensors of accounts.

    What no point names stays a number, and so costs nothing where it is off.
    """
    named = {name for point in points for name in point}
    columns: dict[str, Any] = {
        name: _column(name, [point.get(name, getattr(rules, name)) for point in points]) for name in named
    }
    return replace(rules, **columns)


def _for_all(policy: Policy, n_accounts: int) -> Policy:
    """Return `policy` with a wish for each account, also where it has one for all."""

    def decide(t: int, accounts: Accounts) -> Tensor:
        return policy(t, accounts).expand(n_accounts, -1)

    return decide


def _column(name: str, values: Sequence[Any]) -> Tensor:
    """Return a threshold of each account, (N,) or, of positions, (N, 1)."""
    column = torch.tensor(values, dtype=torch.bool if name in FLAGS else torch.float64)
    return column.unsqueeze(1) if name in OF_POSITIONS else column


def _numbers(rules: Rules, point: Point) -> dict[str, Any]:
    """Return what one account was traded under; thresholds of `rules` that differ by symbol are left out."""
    numbers = {name: point.get(name, getattr(rules, name)) for name in NAMES}
    return {name: value for name, value in numbers.items() if not isinstance(value, Tensor)}


def _fired(episode: EpisodeResult, account: int) -> dict[str, int]:
    flags = episode.rules[:, account]
    return {f"n_{rule.name}".lower(): int(np.count_nonzero(flags & rule.value)) for rule in Rule}
