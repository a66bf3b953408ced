"""When and at which price an engine fills: at the open behind the decision, never at a price of the decided bar.

As a rule a bar opens where the one before closed, and a fill does not tell which of both it took. So the bars are
given opens of their own, and a policy that trades on every bar stands beside the candidate.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cappuccino.market.panel import BarPanel, FloatArray
from cappuccino.portfolio.account import Accounts
from cappuccino.risk.rules import Rules
from cappuccino.validation.audit_report import AuditCheck
from cappuccino.validation.evaluate import EpisodeResult, Policy

Play = Callable[[Policy, BarPanel, int, int, Rules], EpisodeResult]
"""(policy, panel, start, stop, rules) -> what was traded, as `evaluate.run` does."""

Places = npt.NDArray[np.int64]
TOLERANCE_FRAC = 1e-9
"""Rounding of a price; the opens of the audit are a hundred thousand times as far from the closes."""


class Restless:
    """A policy that wants something else on every bar."""

    def __init__(self, n_assets: int, seed: int) -> None:
        self._n_assets, self._seed = n_assets, seed

    def __call__(self, t: int, accounts: Accounts) -> Tensor:
        """Return target weights (N, A) that depend on the row alone."""
        wanted = np.random.default_rng([self._seed, t]).random(self._n_assets) / self._n_assets
        return torch.from_numpy(wanted).to(accounts.device).expand(len(accounts), -1)


def check_fills(
    policies: tuple[Policy, ...], panel: BarPanel, start: int, stop: int, rules: Rules, play: Play
) -> AuditCheck:
    """Count the fills of `policies` over rows [start, stop) of `panel` that are not at the next open plus costs."""
    episodes = [play(policy, panel, start, stop, rules) for policy in policies]
    wrong = [_wrong_fills(episode, panel, start, rules) for episode in episodes]
    n_wrong, n_fills = sum(len(rows) for rows in wrong), sum(np.count_nonzero(one.units) for one in episodes)
    detail = f"{n_fills:,} fills at the open of the bar behind the decision"
    for episode, rows in zip(episodes, wrong, strict=True):
        if len(rows):
            detail = _described(episode, rows[0], panel, start)
            break
    return AuditCheck("fill_times", n_wrong == 0, float(n_wrong), detail)


def _wrong_fills(episode: EpisodeResult, panel: BarPanel, start: int, rules: Rules) -> Places:
    """Return (step, account, asset) of each fill whose price is not the next open, moved against us by its costs."""
    n_steps = len(episode.units)
    opened = panel.open[start + 1 : start + 1 + n_steps, None, :]
    paid_frac = np.sign(episode.units) * (episode.price_usd / opened - 1.0)
    impact_frac = _impact_frac(episode, opened) if rules.costs.impact > 0 else 0.0
    is_wrong = (np.abs(paid_frac - rules.costs.slippage_frac - impact_frac) > TOLERANCE_FRAC) | (impact_frac < 0.0)
    return np.argwhere(is_wrong & (episode.units != 0))


def _impact_frac(episode: EpisodeResult, opened: FloatArray) -> FloatArray:
    """Return how far each fill says that it moved its price, (T, N, A); it depends on the order's size."""
    notional = np.abs(episode.units) * opened
    moved: FloatArray = np.divide(episode.impact_usd, notional, out=np.zeros_like(notional), where=notional > 0)
    return moved


def _described(episode: EpisodeResult, where: Places, panel: BarPanel, start: int) -> str:
    k, n, a = (int(place) for place in where)
    return (
        f"decided at the close of the bar at {panel.opened_at[start + k]} UTC, {panel.symbols[a]} was filled at "
        f"{episode.price_usd[k, n, a]:.8g}; the next bar opened at {panel.open[start + k + 1, a]:.8g}, and the decided "
        f"one closed at {panel.close[start + k, a]:.8g}"
    )
