"""Members of the small market: networks of random weights, which disagree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from cappuccino.arena.candidate import load_candidate
from cappuccino.ensemble.agent import Ensemble
from cappuccino.ensemble.document import Document, Member, to_json
from cappuccino.ensemble.seasons import Recall
from cappuccino.ensemble.votes import VOTES, Vote, equal_shares, score_shares
from cappuccino.env.wish import Wish
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel
from cappuccino.market.sync import load_panel
from cappuccino.registry.artifacts import folder_of, load, save_document
from cappuccino.registry.artifacts import save as save_weights
from cappuccino.registry.identity import ModelId
from cappuccino.registry.manifest import Manifest
from cappuccino.store.warehouse import Warehouse
from tests.unit.small_lab import save_model
from tests.unit.small_market import DAY, END, START, SYMBOLS

TRAINED = START + 27 * DAY
RECALL = Recall(reward_bars=12, drop_every_bars=4, keep=2)
WISH = Wish(max_weight=0.3, cash_reserve=0.0, no_trade_band=0.02)
SCORES = (2.0, 1.0, 0.5, -1.0, 0.5)

Save = Callable[..., Ensemble]


@pytest.fixture(scope="session")
def panel(full_file: Path) -> BarPanel:
    with Warehouse(full_file).read() as reader:
        return load_panel(reader, SYMBOLS, Interval.H1, END)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Return a function that stores an ensemble of the models s/0 .. s/(n - 1), and loads it again."""

    def saved(vote: Vote = "mean", n: int = 5) -> Ensemble:
        manifests = [save_member(tmp_path / "artifacts", ModelId("s", trial), TRAINED) for trial in range(n)]
        model = ModelId("ensemble", VOTES.index(vote))
        save_ensemble(tmp_path / "artifacts", vote, manifests, model)
        return Ensemble.load(tmp_path / "artifacts", model, load_candidate)

    return saved


def save_member(root: Path, model: ModelId, train_end: datetime, *, interval: Interval = Interval.H1) -> Manifest:
    """Store a network of random weights that means what it says: untrained ones all want about the same."""
    if folder_of(root, model).exists():
        return load(folder_of(root, model), model).manifest
    manifest = save_model(root, model, train_end, interval=interval)
    state = load(folder_of(root, model), model).state_dict
    state["actor_out.weight"] = 100.0 * state["actor_out.weight"]
    return save_weights(folder_of(root, model), manifest, state, replace_unused=True)


def save_ensemble(root: Path, vote: Vote, manifests: list[Manifest], model: ModelId) -> None:
    """Store an ensemble over the models of `manifests`."""
    shares = score_shares(SCORES[: len(manifests)]) if vote == "score" else equal_shares(len(manifests))
    members = tuple(
        Member(m.study, m.trial, m.weight_sha256, score, weight)
        for m, score, weight in zip(manifests, SCORES, shares.tolist(), strict=False)
    )
    manifest = replace(manifests[0], study=model.study, trial=model.trial, learner="ensemble", scaler={})
    save_document(folder_of(root, model), manifest, to_json(Document(vote, WISH, RECALL, members)))
