"""An ensemble from its artifact folder: a candidate like any other, whose members are loaded and verified with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from cappuccino.ensemble.document import Document, Member, from_json
from cappuccino.ensemble.reference import Reference, Voter, bar_number
from cappuccino.ensemble.seasons import Recall, Season, rewards, season
from cappuccino.ensemble.votes import Ballot, agreement, outcome
from cappuccino.errors import ArtifactError, DataError
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel
from cappuccino.portfolio.account import Accounts
from cappuccino.registry.artifacts import DOCUMENT, folder_of, load_document
from cappuccino.registry.identity import ModelId
from cappuccino.registry.manifest import Manifest
from cappuccino.rl.agent import Market

if TYPE_CHECKING:
    from cappuccino.arena.candidate import Candidate

LEARNER = "ensemble"

LoadMember = Callable[[Path, ModelId], "Candidate"]
"""(artifacts folder, model) -> the candidate; raises ArtifactError."""


class Assembly:
    """The members of an ensemble on one market: (row t, accounts after close[t]) -> target weights.

    Members vote on actions; one wish reads what comes of it, so that only what the ensemble trades costs anything.
    """

    def __init__(self, document: Document, voters: Sequence[Voter], panel: BarPanel) -> None:
        self.document, self.wish = document, document.wish
        self._voters = tuple(voters)
        self._close_usd = torch.tensor(panel.close, dtype=torch.float64)
        self._seasons = _Seasons(document.recall, voters, panel) if document.vote == "adaptive" else None
        self._newest: tuple[int, Accounts, Ballot] | None = None

    def __call__(self, t: int, accounts: Accounts) -> Tensor:
        """Return target weights (N, A); raises DataError when the bars before row t are too few."""
        return self.targets(self.action(t, accounts), t, accounts)

    def action(self, t: int, accounts: Accounts) -> Tensor:
        """Return the actions (N, A) in [-1, 1]; raises DataError as a call does."""
        return outcome(self.document.vote, self.ballot(t, accounts))

    def targets(self, action: Tensor, t: int, accounts: Accounts) -> Tensor:
        """Return the weights (N, A) that `action` asks for after close[t]."""
        return self.wish.weights(action, accounts.weights(self._close_usd[t]))

    def agreement(self, t: int, accounts: Accounts) -> Tensor:
        """Return the share of the vote (N, A) that agrees with its outcome; raises DataError as a call does.

        Nobody votes again when the newest ballot was about the same.
        """
        newest = self._newest
        is_known = newest is not None and newest[0] == t and newest[1] is accounts
        ballot = newest[2] if newest is not None and is_known else self.ballot(t, accounts)
        return agreement(ballot, outcome(self.document.vote, ballot))

    def ballot(self, t: int, accounts: Accounts) -> Ballot:
        """Return every member's vote at row t, and what it counts; raises DataError as a call does."""
        ballot = self._voted(t, accounts)
        self._newest = (t, accounts, ballot)
        return ballot

    def _voted(self, t: int, accounts: Accounts) -> Ballot:
        votes = torch.stack([voter.action(t, accounts).double() for voter in self._voters])
        if self._seasons is None:
            return Ballot(votes, self.document.weights, np.ones(len(votes), dtype=bool))
        now, k = self._seasons.at(t)
        return Ballot(votes, now.weights[:, k], now.is_active[:, k])


class Ensemble:
    """A model whose weights are other models."""

    def __init__(self, manifest: Manifest, document: Document, members: Sequence[Candidate]) -> None:
        """Raises ArtifactError when the members do not fit the document or each other."""
        self.manifest, self.document, self.members = manifest, document, tuple(members)
        for member, candidate in zip(document.members, members, strict=True):
            _require_member(manifest.model, member, candidate)
        if len({candidate.market for candidate in members}) != 1:
            raise ArtifactError(f"members of ensemble {manifest.model} trade different markets; retire the model")
        self.interval: Interval = members[0].interval
        self.symbols: tuple[str, ...] = members[0].symbols
        self.lookback: int = max(candidate.lookback for candidate in members)

    @classmethod
    def load(cls, artifacts: Path, model: ModelId, load_member: LoadMember) -> Ensemble:
        """Return the ensemble `model` with its members; raises ArtifactError when it or one of them is damaged."""
        folder = folder_of(artifacts, model)
        manifest, content = load_document(folder, model)
        document = from_json(content, str(folder / DOCUMENT))
        return cls(manifest, document, [_loaded(artifacts, model, one, load_member) for one in document.members])

    @property
    def market(self) -> Market:
        """Which panels it can decide on."""
        return self.members[0].market

    @property
    def history_bars(self) -> int:
        """Bars that always suffice to decide on the newest of them."""
        return max(candidate.history_bars for candidate in self.members) + self.recall_bars

    @property
    def recall_bars(self) -> int:
        """Bars before its window whose rewards decide who votes, and how much it counts."""
        adaptive = self.document.vote == "adaptive"
        return self.document.recall.history_bars(len(self.members)) if adaptive else 0

    def policy(self, panel: BarPanel) -> Assembly:
        """Return the ensemble's decisions over the rows of `panel`; raises as the policies of its members do."""
        return Assembly(self.document, [voter_of(member, panel) for member in self.members], panel)


def voter_of(candidate: Candidate, panel: BarPanel) -> Voter:
    """Return a member's decisions over the rows of `panel`: those of every family tell actions from targets."""
    return cast(Voter, candidate.policy(panel))


class _Seasons:
    """The seasons of one panel, each computed when it is first asked for."""

    def __init__(self, recall: Recall, voters: Sequence[Voter], panel: BarPanel) -> None:
        self._recall, self._panel = recall, panel
        self._references = [Reference(voter, panel) for voter in voters]
        self._n_bars = recall.season_bars(len(voters))
        self._known: dict[int, Season] = {}

    def at(self, t: int) -> tuple[Season, int]:
        """Return the season of row t and the row's place in it; raises DataError when history is too short."""
        number, place = divmod(bar_number(self._panel, t), self._n_bars)
        if number not in self._known:
            self._known[number] = self._computed(t - place)
        return self._known[number], place

    def _computed(self, first: int) -> Season:
        """Return the season that begins at row `first`, as far as the panel goes."""
        start, stop = first - self._recall.reward_bars, min(first + self._n_bars, len(self._panel))
        if start < 0:
            raise DataError(
                f"an adaptive ensemble looks back {-start} bars beyond the first at {self._panel.opened_at[0]} UTC; "
                "load bars from earlier on"
            )
        # The reward of the last row is not known there.
        votes = np.stack([reference.votes(start, stop - 1) for reference in self._references])
        return season(rewards(votes, self._panel.close[start:stop]), self._recall)


def _loaded(artifacts: Path, model: ModelId, member: Member, load_member: LoadMember) -> Candidate:
    try:
        return load_member(artifacts, member.model)
    except ArtifactError as error:
        raise ArtifactError(f"ensemble {model} lacks its member {member.model}: {error}") from None


def _require_member(model: ModelId, member: Member, candidate: Candidate) -> None:
    manifest = candidate.manifest
    if manifest.learner == LEARNER:
        raise ArtifactError(f"member {member.model} of ensemble {model} is an ensemble itself; retire the model")
    if (manifest.model, manifest.weight_sha256) != (member.model, member.weight_sha256):
        raise ArtifactError(
            f"member {member.model} of ensemble {model} is another model than when it was built: found "
            f"{manifest.model} with sha256 {manifest.weight_sha256}, expected {member.weight_sha256}; "
            "restore the member's folder, or retire the ensemble"
        )
