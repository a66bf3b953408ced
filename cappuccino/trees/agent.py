"""Trees that decide: what they expect of each symbol, read as the action of a network is."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from cappuccino.env.market import MarketArrays
from cappuccino.errors import DataError
from cappuccino.market.panel import BarPanel
from cappuccino.portfolio.account import Accounts
from cappuccino.registry.artifacts import DOCUMENT, folder_of, load_document
from cappuccino.registry.identity import ModelId
from cappuccino.registry.manifest import Manifest
from cappuccino.rl.agent import FeatureAgent
from cappuccino.trees.forest import Forest
from cappuccino.trees.hyper import TreeHyper

TILE = 256
"""Bars that the trees are asked about together: many for a whole history, few when only the newest counts."""


class TreeDecider:
    """A forest on one market: (row t, accounts after close[t]) -> target weights, for `evaluate.run`."""

    def __init__(self, forest: Forest, market: MarketArrays) -> None:
        self.forest, self.market, self.wish = forest, market, forest.hyper.wish
        self._tiles: dict[int, Tensor] = {}

    def __call__(self, t: int, accounts: Accounts) -> Tensor:
        """Return target weights (N, A); raises DataError when the window of row t is not complete."""
        return self.targets(self.action(t, accounts), t, accounts)

    def action(self, t: int, accounts: Accounts) -> Tensor:
        """Return the actions (N, A) in [-1, 1]: who holds a symbol keeps it while a gain is expected, who does not
        waits for one that pays for the costs. Raises DataError as a call does."""
        expected = self.expected(t)
        wanted = (expected / self.forest.full_return).clamp(-1.0, 1.0)
        may_enter = (expected > self.forest.entry_return) | (accounts.units > 0.0)
        return torch.where(may_enter, wanted, wanted.clamp(max=0.0))

    def targets(self, action: Tensor, t: int, accounts: Accounts) -> Tensor:
        """Return the weights (N, A) that `action` asks for after close[t]."""
        return self.wish.weights(action, accounts.weights(self.market.close_usd[t]))

    def expected(self, t: int) -> Tensor:
        """Return the log return (A,) expected over the horizon from bar t on; raises DataError as a call does."""
        first = self.forest.lookback - 1
        if not first <= t < len(self.market):
            raise DataError(
                f"bar {t} of {len(self.market)} has not {self.forest.lookback} bars up to it; start later, "
                "or load a longer history"
            )
        number = (t - first) // TILE
        if number not in self._tiles:
            start = first + number * TILE
            found = self.forest.expect(self.market, start, min(start + TILE, len(self.market)))
            self._tiles[number] = torch.from_numpy(found)
        expected = self._tiles[number][(t - first) % TILE]
        if not bool(torch.isfinite(expected).all()):
            raise DataError(
                f"the {self.forest.lookback} bars up to bar {t} have features without a value; start later, "
                "or load a longer history"
            )
        return expected


class TreeAgent(FeatureAgent):
    """A model of trees from its artifact folder, ready to trade."""

    def __init__(self, manifest: Manifest, content: str, origin: str = DOCUMENT) -> None:
        """Raises ArtifactError when manifest, scaler and trees do not fit each other."""
        self.hyper = TreeHyper.from_dict(manifest.hyper)
        super().__init__(manifest)
        self.forest = Forest.from_json(content, self.hyper, self.lookback, manifest.features.names, origin)

    @classmethod
    def load(cls, artifacts: Path, model: ModelId) -> TreeAgent:
        """Return the agent of `model` under the artifacts folder; raises ArtifactError when it is damaged."""
        folder = folder_of(artifacts, model)
        return cls(*load_document(folder, model), str(folder / DOCUMENT))

    def policy(self, panel: BarPanel) -> TreeDecider:
        """Return the agent's decisions over the rows of `panel`; raises as `scaled` does."""
        return TreeDecider(self.forest, self.scaled(panel))
