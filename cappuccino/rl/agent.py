"""A trained policy that decides: always its mean action, so equal bars and accounts give equal targets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import torch
from torch import Tensor

from cappuccino.env.market import MarketArrays, market_arrays
from cappuccino.env.observation import account_features
from cappuccino.errors import ArtifactError, DataError
from cappuccino.features.compute import compute, live_history_bars
from cappuccino.features.scaler import Scaler
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.inputs import Inputs
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel
from cappuccino.market.sync import load_panel
from cappuccino.portfolio.account import Accounts
from cappuccino.registry.artifacts import Artifact, folder_of, load
from cappuccino.registry.identity import ModelId
from cappuccino.registry.manifest import Manifest
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.model import Policy
from cappuccino.rl.runner import policy_shape
from cappuccino.store.warehouse import Reader

TILE = 64
"""Bars that are encoded together, always: a matrix product of another height may round differently."""


class Decider:
    """A policy on one market: (row t, accounts after close[t]) -> target weights, for `evaluate.run`.

    The market part of a bar is computed in a tile of `TILE` rows, each on its own, so that history and live trading run
    the same numbers: live, the tile holds the newest row again and again.
    """

    def __init__(self, policy: Policy, market: MarketArrays, hyper: Hyper) -> None:
        self.policy, self.market, self.wish = policy, market, hyper.wish
        self._first, self._codes = 0, torch.empty(0)

    def __call__(self, t: int, accounts: Accounts) -> Tensor:
        """Return target weights (N, A); raises DataError when the window of row t is not complete."""
        return self.targets(self.action(t, accounts), t, accounts)

    @torch.no_grad()
    def action(self, t: int, accounts: Accounts) -> Tensor:
        """Return the mean actions (N, A) in [-1, 1]; raises DataError as a call does."""
        market = self.market
        if not self._first <= t < self._first + len(self._codes):
            self._encode_from(t)
        now_us = int(market.opened_us[t]) + market.interval.us
        seen = account_features(accounts, market.close_usd[t], now_us)
        mean = self.policy.steer(self._codes[t - self._first][None], seen.unsqueeze(0)).squeeze(0)
        return mean.clamp(-1.0, 1.0)

    def targets(self, action: Tensor, t: int, accounts: Accounts) -> Tensor:
        """Return the weights (N, A) that `action` asks for after close[t]."""
        return self.wish.weights(action, accounts.weights(self.market.close_usd[t]))

    def _encode_from(self, t: int) -> None:
        """Encode row t and those after it that are complete."""
        lookback = self.policy.shape.lookback
        n_rows = self.market.n_complete(t, TILE)
        bars = torch.arange(t, t + TILE).clamp(max=t + max(n_rows, 1) - 1)
        self._codes = self.policy.encode_market(self.policy.see(self.market.windows(bars, lookback)))[: max(n_rows, 1)]
        self._first = t


@dataclass(frozen=True)
class Market:
    """What an agent trades, and what it has to be shown: agents of equal markets share a panel."""

    interval: Interval
    symbols: tuple[str, ...]
    inputs: Inputs

    def panel(self, reader: Reader, now: datetime, start: datetime | None = None) -> BarPanel:
        """Return its bars that had closed at `now` and opened at or after `start`; raises as `load_panel` does."""
        return load_panel(reader, self.symbols, self.interval, now, start, self.inputs)


class FeatureAgent:
    """A model of one family that decides on scaled features of panels of its symbols and interval."""

    recall_bars = 0
    """A decision rests on its window alone."""
    members: tuple[()] = ()
    """It decides by itself."""

    def __init__(self, manifest: Manifest) -> None:
        """Raises ArtifactError when manifest and scaler do not fit each other."""
        self.manifest = manifest
        self.interval: Interval = manifest.interval
        self.lookback: int = manifest.lookback
        self.symbols: tuple[str, ...] = manifest.symbols
        self.scaler = Scaler.from_dict(manifest.scaler)
        self.features = FeatureSpec.from_dict(asdict(manifest.features))
        self.scaler.require(manifest.features.names, manifest.symbols)

    @property
    def market(self) -> Market:
        """Which panels it can decide on."""
        return Market(self.interval, self.symbols, self.features.inputs)

    @property
    def history_bars(self) -> int:
        """Bars that always suffice to decide on the newest of them."""
        return live_history_bars(self.features, self.interval, self.lookback)

    def scaled(self, panel: BarPanel) -> MarketArrays:
        """Return `panel` with its features as the model saw those that it was trained on.

        Raises DataError when the panel has another interval or other symbols, ArtifactError when the features
        of this version are not those that the model was trained on.
        """
        if (panel.interval, panel.symbols) != (self.interval, self.symbols):
            raise DataError(
                f"model {self.manifest.model} trades {self.interval} bars of {', '.join(self.symbols)}; "
                f"found {panel.interval} bars of {', '.join(panel.symbols)}. Give it a panel of its own"
            )
        self.scaler.require(self.features.names, panel.symbols)
        return market_arrays(panel, self.scaler.transform(compute(panel, self.features)))


class Agent(FeatureAgent):
    """A network from its artifact folder, ready to trade."""

    def __init__(self, artifact: Artifact) -> None:
        """Raises ArtifactError when manifest, scaler and weights do not fit each other."""
        self.hyper = Hyper.from_dict(artifact.manifest.hyper)
        super().__init__(artifact.manifest)
        self._network = _network(artifact, self.hyper)

    @classmethod
    def load(cls, artifacts: Path, model: ModelId) -> Agent:
        """Return the agent of `model` under the artifacts folder; raises ArtifactError when it is damaged."""
        return cls(load(folder_of(artifacts, model), model))

    def policy(self, panel: BarPanel) -> Decider:
        """Return the agent's decisions over the rows of `panel`; raises as `scaled` does."""
        return Decider(self._network, self.scaled(panel), self.hyper)


def _network(artifact: Artifact, hyper: Hyper) -> Policy:
    manifest = artifact.manifest
    shape = policy_shape(len(manifest.symbols), len(manifest.features.names), manifest.lookback, hyper)
    network = Policy(shape, torch.Generator())
    _require_same_shapes(network, artifact)
    network.load_state_dict(artifact.state_dict)
    return network.eval()


def _require_same_shapes(network: Policy, artifact: Artifact) -> None:
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    found = {name: tensor.shape for name, tensor in artifact.state_dict.items()}
    if expected != found:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise ArtifactError(
            f"weights of model {artifact.manifest.model} do not fit its manifest: {', '.join(wrong)}; "
            "restore the folder, or retire the model"
        )
