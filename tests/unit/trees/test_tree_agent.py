from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.arena.candidate import Candidate, load_candidate
from cappuccino.arena.match import play
from cappuccino.arena.result import Pairing
from cappuccino.env.market import MarketArrays
from cappuccino.errors import ArtifactError, DataError
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray, as_datetime
from cappuccino.portfolio.account import open_accounts
from cappuccino.portfolio.measures import Measures
from cappuccino.registry import artifacts
from cappuccino.registry.identity import ModelId
from cappuccino.registry.manifest import Manifest, ManifestFeatures
from cappuccino.rl.agent import Agent
from cappuccino.trees.agent import TILE, TreeAgent, TreeDecider
from cappuccino.trees.forest import Forest, grow
from cappuccino.trees.hyper import LEARNER, TreeHyper
from cappuccino.validation.baselines import benchmark_returns
from cappuccino.validation.evaluate import run
from tests.unit.small_lab import save_model
from tests.unit.small_market import SYMBOLS
from tests.unit.trees.markets import LOOKBACK, N_BARS, RULES, SPEC, Ground, ground, panel

MODEL = ModelId("trees-1", 2)
HYPER = TreeHyper(leaves=8, rounds=40, horizon_bars=12, entry_costs=1.0, knows_symbol=True)
HALVES = TreeHyper(max_weight=0.5, no_trade_band=0.0)
PLANTED = ground(drift=0.003)
TRADING = RULES.without_protection()


def forest_of(found: Ground, hyper: TreeHyper = HYPER) -> Forest:
    return grow(found.market, SPEC.names, (found.train,), LOOKBACK, hyper, RULES.costs, 1)


def saved(root: Path, found: Ground = PLANTED) -> Manifest:
    """Store the trees that `found` teaches."""
    start, end = (as_datetime(found.panel.opened_at[t]) for t in (found.train[0], found.train[1]))
    manifest = Manifest(
        study=MODEL.study,
        trial=MODEL.trial,
        hyper=dict(HYPER.to_dict()),
        features=ManifestFeatures(SPEC.indicators, SPEC.extras, SPEC.names),
        scaler=found.scaler.to_dict(),
        symbols=SYMBOLS,
        interval=Interval.H1,
        lookback=LOOKBACK,
        data_start=start,
        data_end=end,
        train_start=start,
        train_end=end,
        data_fingerprint="f",
        code_version="1",
        learner=LEARNER,
        simulated=True,
        metrics={},
    )
    return artifacts.save_document(artifacts.folder_of(root, MODEL), manifest, forest_of(found).to_json())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifacts")
    saved(folder)
    return folder


@pytest.fixture(scope="module")
def agent(root: Path) -> TreeAgent:
    return TreeAgent.load(root, MODEL)


@pytest.fixture(scope="module")
def batch(agent: TreeAgent) -> TreeDecider:
    """The agent on the whole panel."""
    return agent.policy(PLANTED.panel)


def held_out(found: Ground) -> Measures:
    episode = run(TreeDecider(forest_of(found), found.market), found.panel, *found.held_out, TRADING)
    return episode.measures(0, benchmark_returns(found.panel, *found.held_out))


def test_a_planted_pattern_is_learned_and_pays_for_its_costs() -> None:
    measures = held_out(PLANTED)
    assert measures.sharpe_daily_365 > 3
    assert measures.alpha_frac > 0.1


def test_nothing_is_earned_on_noise() -> None:
    scores = [held_out(ground(drift=0.0, seed=seed)).sharpe_annualized for seed in range(3)]
    # Of a third of 1,900 hours one Sharpe ratio is uncertain by about 4, and trading costs.
    assert np.mean(scores) < 1.0


def actions_of(decider: TreeDecider, t: int) -> bytes:
    return decider.action(t, open_accounts(1, len(SYMBOLS), 10_000.0)).numpy().tobytes()


@settings(max_examples=15, deadline=None)
@given(st.integers(600, N_BARS - 1))
def test_live_decisions_are_those_of_the_history_bit_for_bit(agent: TreeAgent, batch: TreeDecider, t: int) -> None:
    start = max(0, t + 1 - agent.history_bars)
    live = agent.policy(PLANTED.panel.rows(start, t + 1))
    assert actions_of(live, t - start) == actions_of(batch, t)
    assert live.expected(t - start).numpy().tobytes() == batch.expected(t).numpy().tobytes()


@settings(max_examples=10, deadline=None)
@given(st.integers(600, N_BARS - 2), st.integers(0, 99))
def test_another_future_moves_no_decision(agent: TreeAgent, batch: TreeDecider, t: int, seed: int) -> None:
    other = agent.policy(with_another_future(PLANTED.panel, t + 1, seed))
    for bar in (t, t - TILE):
        assert other.expected(bar).numpy().tobytes() == batch.expected(bar).numpy().tobytes()


def with_another_future(bars: BarPanel, stop: int, seed: int) -> BarPanel:
    rng = np.random.default_rng(seed)
    factor = np.ones((len(bars), 1))
    factor[stop:] = 0.5 + rng.random((len(bars) - stop, 1))
    prices = {name: getattr(bars, name) * factor for name in ("open", "high", "low", "close", "volume")}
    return replace(bars, **prices)


@dataclass(frozen=True)
class Oracle:
    """A forest that expects what it is told to, of every bar."""

    expected: FloatArray
    hyper: TreeHyper = HALVES
    lookback: int = 1
    entry_return: float = 0.01
    full_return: float = 0.04

    def expect(self, market: MarketArrays, start: int, stop: int) -> FloatArray:
        return np.repeat(self.expected[None], stop - start, axis=0)


def oracle(*expected: float) -> TreeDecider:
    return TreeDecider(Oracle(np.array(expected)), PLANTED.market)  # type: ignore[arg-type]


def test_an_action_is_the_expectation_over_what_asks_for_everything() -> None:
    flat = open_accounts(1, 2, 10_000.0)
    assert oracle(0.02, 0.08).action(0, flat).tolist() == [[0.5, 1.0]]
    assert oracle(-0.02, -0.08).action(0, flat).tolist() == [[-0.5, -1.0]]
    assert oracle(0.02, -0.08)(0, flat).tolist() == [[0.25, 0.0]]


def test_a_small_gain_opens_nothing_but_keeps_what_is_held() -> None:
    flat = open_accounts(2, 2, 10_000.0)
    units = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    accounts = replace(flat, units=units)
    assert oracle(0.004, 0.004).action(0, accounts).tolist() == [[0.0, 0.0], [pytest.approx(0.1), 0.0]]
    assert oracle(-0.004, 0.004).action(0, accounts).tolist()[1] == [pytest.approx(-0.1), 0.0]


def test_rows_without_history_or_features_are_refused(batch: TreeDecider) -> None:
    accounts = open_accounts(1, 2, 10_000.0)
    with pytest.raises(DataError, match="bar 4 of 1900 has not 6 bars up to it"):
        batch.action(4, accounts)
    with pytest.raises(DataError, match="has not 6 bars"):
        batch.action(N_BARS, accounts)
    first = PLANTED.train[0]
    with pytest.raises(DataError, match=f"the 6 bars up to bar {first + 3} have features without a value"):
        batch.action(first + 3, accounts)
    assert batch.action(first + LOOKBACK - 1, accounts).shape == (1, 2)


def test_a_panel_of_another_market_is_refused(agent: TreeAgent) -> None:
    with pytest.raises(DataError, match="trades 1h bars of BTC/USD, ETH/USD; found 1h bars of ETH/USD, BTC/USD"):
        agent.policy(replace(PLANTED.panel, symbols=SYMBOLS[::-1]))


def test_what_is_loaded_is_a_candidate_like_any_other(root: Path, agent: TreeAgent) -> None:
    loaded: Candidate = load_candidate(root, MODEL)
    assert isinstance(loaded, TreeAgent)
    assert (loaded.interval, loaded.lookback, loaded.symbols) == (Interval.H1, LOOKBACK, SYMBOLS)
    network = save_model(root, ModelId("net", 1), agent.manifest.train_end)
    assert loaded.market == Agent.load(root, network.model).market
    assert loaded.history_bars == agent.history_bars >= LOOKBACK
    assert loaded.manifest.learner == LEARNER


@pytest.mark.parametrize("name", [artifacts.DOCUMENT, artifacts.MANIFEST])
def test_a_damaged_folder_is_refused(name: str, root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "copy")
    file = artifacts.folder_of(tmp_path / "copy", MODEL) / name
    file.write_text(file.read_text().replace("1", "2", 1))
    with pytest.raises(ArtifactError, match="restore the folder, or retire the model"):
        TreeAgent.load(tmp_path / "copy", MODEL)
    file.unlink()
    with pytest.raises(ArtifactError, match="is missing"):
        TreeAgent.load(tmp_path / "copy", MODEL)


def test_trees_fight_a_network(root: Path, agent: TreeAgent) -> None:
    network = Agent.load(root, save_model(root, ModelId("net", 3), agent.manifest.train_end).model)
    bars, day = panel(drift=0.003), timedelta(days=1)
    first = as_datetime(bars.closed_at[PLANTED.held_out[0]])
    windows = [(first + k * 4 * day, first + (k + 1) * 4 * day) for k in range(5)]
    pairing = Pairing(network.manifest.model, MODEL, 1)
    result = play(pairing, network, agent, (bars, bars), windows, TRADING, "log_return", windows[-1][1])
    assert result.winner == MODEL
