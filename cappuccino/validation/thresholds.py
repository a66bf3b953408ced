"""Which thresholds of the risk rules would have served best: a whole grid in one run, one account for each.

    study = threshold_study(agent.policy(panel), panel, start, stop, rules, grid(stop_loss_frac=(0.0, 0.05, 0.1)))

The best of a grid is the luckiest too. `daily_returns` are what the figures against overfitting ask for, with every
point of the grid as a trial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from cappuccino.risk.rules import BySymbol, Rule, Rules
from cappuccino.validation.baselines import benchmark_returns
from cappuccino.validation.evaluate import EpisodeResult, Policy, agreement_of, run

OF_PORTFOLIO = ("portfolio_trailing_stop_frac", "profit_take_frac", "move_to_cash_frac", "protection_scaled")
OF_POSITIONS = ("stop_loss_frac", "position_trailing_stop_frac", "position_scaled")
NAMES = (*OF_PORTFOLIO, *OF_POSITIONS)
"""Fields of `Rules` that a study may vary."""
FLAGS = ("protection_scaled", "position_scaled")
BY_SYMBOL = {
    "stop_loss_frac": "stop_loss_by_symbol",
    "position_trailing_stop_frac": "position_trailing_stop_by_symbol",
}
"""Thresholds of positions, each with the field of `Rules` that holds its exceptions."""
COUNTED = tuple(rule for rule in Rule if rule.value <= Rule.WEIGHT_CAP.value)
"""Rules whose thresholds a study varies, or that follow from them."""
MAX_TAPE_MB = 512
"""Memory for what the accounts of one run report; a grid that needs more is run in parts."""
_TAPE_ROWS = 8  # arrays (T, N, A) of an episode
_N_WORDS = 4  # progress is told so often

Point = Mapping[str, float | bool | BySymbol]
"""What takes the place of fields of `Rules`: those of `NAMES` and `BY_SYMBOL`."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class ThresholdStudy:
    """What each of N points of a grid did over T bars."""

    frame: pl.DataFrame
    """One row per point, in the grid's order: its thresholds, all `Measures`, and for each rule in `COUNTED` the number
    of bars that it fired on (`n_stop_loss`)."""
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
    say: Say = lambda _: None,
) -> ThresholdStudy:
    """Let `policy` trade rows [start, stop) of `panel` once under each of `points`, which replace fields of `rules`.

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
        own, who = rules_of(rules, part, panel.symbols), f"points {first + 1} to {first + len(part)}"
        heard = _ForAll(policy, len(part), start, stop - start - 1, who, say)
        episode = run(heard, panel, start, stop, own, n_accounts=len(part), cash_usd=cash_usd)
        for n, point in enumerate(part):
            rows.append({**_numbers(rules, point), **asdict(episode.measures(n, benchmark)), **_fired(episode, n)})
            days.append(daily_returns(episode.returns[:, n], panel.interval))
    return ThresholdStudy(pl.DataFrame(rows), np.stack(days, axis=1))


def rules_of(rules: Rules, points: Sequence[Point], symbols: tuple[str, ...]) -> Rules:
    """Return `rules` for one account per point in `symbols`, with the points' numbers as tensors of accounts.

    What no point names stays a number, and so costs nothing where it is off.
    """
    named = {name for point in points for name in point}
    columns: dict[str, Any] = {
        name: _column(name, [point.get(name, getattr(rules, name)) for point in points]) for name in named & {*NAMES}
    }
    for usual, exceptions in BY_SYMBOL.items():
        if exceptions in named:
            columns |= {usual: _placed(rules, points, usual, exceptions, symbols), exceptions: ()}
    return replace(rules, **columns)


def _placed(
    rules: Rules, points: Sequence[Mapping[str, Any]], usual: str, exceptions: str, symbols: tuple[str, ...]
) -> Tensor:
    """Return each account's threshold of each symbol, (N, A)."""
    rows = []
    for point in points:
        number, own = point.get(usual, getattr(rules, usual)), dict(point.get(exceptions, getattr(rules, exceptions)))
        rows.append([own.get(symbol, number) for symbol in symbols])
    return torch.tensor(rows, dtype=torch.float64)


@dataclass(frozen=True)
class _ForAll:
    """A policy with a wish for each account, also where it has one for all; it tells now and then how far it is."""

    policy: Policy
    n_accounts: int
    start: int
    n_steps: int
    who: str
    say: Say

    def __call__(self, t: int, accounts: Accounts) -> Tensor:
        """Return target weights (N, A)."""
        done = t - self.start
        if done % max(1, self.n_steps // _N_WORDS) == 0:
            self.say(f"{self.who}: bar {done:,} of {self.n_steps:,}")
        return self.policy(t, accounts).expand(self.n_accounts, -1)

    def agreement(self, t: int, accounts: Accounts) -> Tensor | None:
        """Return how far those agree who decided, (N, A); None where nobody votes."""
        return agreement_of(self.policy, t, accounts)


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
    return {f"n_{rule.name}".lower(): int(np.count_nonzero(flags & rule.value)) for rule in COUNTED}
