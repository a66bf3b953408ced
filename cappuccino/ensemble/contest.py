"""Members and ensembles on the same bars, at the same costs, under the same rules: each with an account of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from cappuccino.market.panel import BarPanel
from cappuccino.portfolio.account import Accounts
from cappuccino.portfolio.measures import Measures
from cappuccino.risk.rules import Rules
from cappuccino.validation.baselines import benchmark_returns
from cappuccino.validation.conduct import Conduct, Decides, Watched, conduct_of
from cappuccino.validation.evaluate import EpisodeResult, Policy, decide_alone, run


@dataclass(frozen=True)
class Result:
    """What one contestant did."""

    measures: Measures
    conduct: Conduct
    account: int
    """Its account in `Contest.episode`."""

    @property
    def score(self) -> float:
        """What contestants are compared by."""
        return self.measures.sharpe_annualized


@dataclass(frozen=True)
class Contest:
    """Rows [start, stop) of a panel, traded by everybody."""

    panel: BarPanel
    start: int
    stop: int
    episode: EpisodeResult
    results: Mapping[str, Result]
    """By name, in the order in which they were given."""


def compete(policies: Mapping[str, Decides], panel: BarPanel, start: int, stop: int, rules: Rules) -> Contest:
    """Let each policy trade rows [start, stop); the result of each is that of `evaluate.run` with it alone.

    Raises DataError when the range has no step, or the panel begins too late for a policy.
    """
    watched = {name: Watched(policy) for name, policy in policies.items()}
    episode = run(_SideBySide(list(watched.values())), panel, start, stop, rules, n_accounts=len(watched))
    benchmark = benchmark_returns(panel, start, stop)
    results = {
        name: Result(episode.measures(n, benchmark), conduct_of(one.actions, episode.units[:, n]), n)
        for n, (name, one) in enumerate(watched.items())
    }
    return Contest(panel, start, stop, episode, results)


class _SideBySide:
    """The policy that gives account n to the n-th of its policies, one by one: a batch may round another way."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._policies = tuple(policies)
        self._agreement: Tensor | None = None

    def __call__(self, t: int, accounts: Accounts) -> Tensor:
        """Return target weights (N, A)."""
        alone = [accounts.select(slice(n, n + 1)) for n in range(len(self._policies))]
        targets, self._agreement = decide_alone(self._policies, [t] * len(alone), alone)
        return targets

    def agreement(self, t: int, accounts: Accounts) -> Tensor | None:
        """Return how far those agree who decided last, (N, A): asked for when they have just decided on `accounts`."""
        return self._agreement
