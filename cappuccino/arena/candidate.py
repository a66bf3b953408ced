"""Whatever may fight and trade: a network, trees or an ensemble, each from its artifact folder."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Protocol

from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel
from cappuccino.registry.artifacts import folder_of, read_manifest
from cappuccino.registry.identity import ModelId
from cappuccino.registry.manifest import Manifest
from cappuccino.rl.agent import Agent, Market
from cappuccino.validation.evaluate import Policy

ROOM = timedelta(days=40)
"""Bars that are loaded beside those that are needed."""


class Candidate(Protocol):
    """A model that is ready to decide on panels of its market."""

    @property
    def manifest(self) -> Manifest: ...

    @property
    def interval(self) -> Interval: ...

    @property
    def lookback(self) -> int: ...

    @property
    def symbols(self) -> tuple[str, ...]: ...

    @property
    def market(self) -> Market: ...

    @property
    def members(self) -> tuple[Candidate, ...]:
        """The candidates that it brings together; none for most."""
        ...

    @property
    def recall_bars(self) -> int:
        """Bars before its window that a decision rests on: what its members would have earned there; 0 for most."""
        ...

    @property
    def history_bars(self) -> int:
        """Bars that always suffice to decide on the newest of them."""
        ...

    def policy(self, panel: BarPanel) -> Policy:
        """Return the decisions over the rows of `panel`; raises DataError when it is of another market."""
        ...


def ample_bars(candidate: Candidate) -> int:
    """Return the bars to load before a candidate's first decision: twice what it needs.

    Features start at a block's edge, not at the first bar.
    """
    return 2 * (candidate.history_bars + candidate.lookback)


def ample_history(candidate: Candidate) -> timedelta:
    """Return how far before a candidate's first decision bars are loaded: ample ones, and some room."""
    return ample_bars(candidate) * candidate.interval.duration + ROOM


def load_candidate(artifacts: Path, model: ModelId) -> Candidate:
    """Return `model`, of whichever family; raises ArtifactError when its folder is damaged or of an unknown family."""
    manifest = read_manifest(folder_of(artifacts, model), model)
    if manifest.learner == "lightgbm":
        from cappuccino.trees.agent import TreeAgent

        return TreeAgent.load(artifacts, model)
    if manifest.learner == "ensemble":
        from cappuccino.ensemble.agent import Ensemble

        return Ensemble.load(artifacts, model, load_candidate)
    return Agent.load(artifacts, model)
