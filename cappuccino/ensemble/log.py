"""The votes that an account followed, as rows of `desk.votes`."""

from __future__ import annotations

import numpy as np
import polars as pl
from torch import Tensor

from cappuccino.ensemble.agent import Assembly
from cappuccino.ensemble.document import Member
from cappuccino.ensemble.votes import Ballot, outcome
from cappuccino.market.panel import BarPanel, as_datetime
from cappuccino.portfolio.account import Accounts
from cappuccino.registry.identity import ModelId

VOTE_TYPES: dict[str, pl.DataType] = {
    "study": pl.String(),
    "trial": pl.Int64(),
    "closed_at_utc": pl.Datetime("us", "UTC"),
    "symbol": pl.String(),
    "member_study": pl.String(),
    "member_trial": pl.Int64(),
    "vote": pl.Float64(),
    "weight": pl.Float64(),
    "is_active": pl.Boolean(),
}


NO_VOTES = pl.DataFrame(schema=VOTE_TYPES)


class VoteLog:
    """An ensemble's policy, for `evaluate.run`, that remembers the ballots of its first account.

    As decisions it gives the same numbers as the policy alone.
    """

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._ballots: list[tuple[int, Ballot]] = []

    def __call__(self, t: int, accounts: Accounts) -> Tensor:
        """Return target weights (N, A)."""
        ballot = self._assembly.ballot(t, accounts)
        self._ballots.append((t, ballot))
        return self._assembly.targets(outcome(self._assembly.document.vote, ballot), t, accounts)

    def agreement(self, t: int, accounts: Accounts) -> Tensor:
        """Return the share of the vote (N, A) that agrees with its outcome."""
        return self._assembly.agreement(t, accounts)

    def rows(self, model: ModelId, panel: BarPanel) -> pl.DataFrame:
        """Return what was voted so far: one row per bar, symbol and member of `model`."""
        members = self._assembly.document.members
        frames = [_ballot_rows(model, members, panel, t, ballot) for t, ballot in self._ballots]
        return pl.concat(frames) if frames else NO_VOTES


def _ballot_rows(model: ModelId, members: tuple[Member, ...], panel: BarPanel, t: int, ballot: Ballot) -> pl.DataFrame:
    """Return one bar's rows: all symbols of the first member, then of the next."""
    n_members, n_assets = len(members), len(panel.symbols)

    def per_member(values: list[object]) -> list[object]:
        return [value for value in values for _ in range(n_assets)]

    n_rows = n_members * n_assets
    return pl.DataFrame(
        {
            "study": [model.study] * n_rows,
            "trial": [model.trial] * n_rows,
            "closed_at_utc": [as_datetime(panel.closed_at[t])] * n_rows,
            "symbol": list(panel.symbols) * n_members,
            "member_study": per_member([member.study for member in members]),
            "member_trial": per_member([member.trial for member in members]),
            "vote": np.asarray(ballot.votes[:, 0]).reshape(-1),
            "weight": per_member(ballot.weights.tolist()),
            "is_active": per_member(ballot.is_active.tolist()),
        },
        schema=VOTE_TYPES,
    )
