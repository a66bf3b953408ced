"""An honest candidate passes its audit; one for each way to cheat is caught by the check that is there for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cappuccino.env.market import market_arrays
from cappuccino.errors import DataError, StageError
from cappuccino.features.compute import compute, first_row
from cappuccino.features.scaler import fit
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, as_datetime
from cappuccino.portfolio.account import Accounts
from cappuccino.registry.artifacts import Artifact
from cappuccino.registry.identity import ModelId
from cappuccino.registry.manifest import Manifest, ManifestFeatures
from cappuccino.risk.rules import Rules
from cappuccino.rl.agent import Agent, Decider
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.model import Policy as Network
from cappuccino.rl.runner import policy_shape
from cappuccino.settings import CostSettings, RiskSettings
from cappuccino.validation.audit import audit
from cappuccino.validation.audit_fills import Restless, check_fills
from cappuccino.validation.audit_future import PERTURBATIONS, TRADED_BARS, cut_rows, truncated, with_moved_opens
from cappuccino.validation.audit_report import AuditCheck, AuditReport, require_audit
from cappuccino.validation.audit_training import FoldEdges, Training, check_folds, check_record, check_scales
from cappuccino.validation.evaluate import EpisodeResult, Policy, run
from tests.unit.features.walks import walk

SPEC = FeatureSpec((), ("roc_12", "trend_4h"))
RULES = Rules.of(RiskSettings(), CostSettings())
PANEL = walk(1500, seed=3)
TRAIN = (960, 1200)
LOOKBACK = 6
HOUR = timedelta(hours=1)


def at(row: int) -> datetime:
    return as_datetime(PANEL.opened_at[row])


def manifest_with(scaled_on: slice) -> Manifest:
    scaler = fit(compute(PANEL, SPEC)[scaled_on], SPEC.names, PANEL.symbols)
    return Manifest(
        study="study",
        trial=3,
        hyper=dict(Hyper(width=16, no_trade_band=0.0).to_dict()),
        features=ManifestFeatures(SPEC.indicators, SPEC.extras, SPEC.names),
        scaler=scaler.to_dict(),
        symbols=PANEL.symbols,
        interval=Interval.H1,
        lookback=LOOKBACK,
        data_start=at(TRAIN[0]),
        data_end=at(-1) + HOUR,
        train_start=at(TRAIN[0]),
        train_end=at(TRAIN[1]),
        data_fingerprint="f",
        code_version="1",
        learner="ppo",
        simulated=True,
        metrics={},
        weight_sha256="5eed",
    )


def agent(scaled_on: slice = slice(*TRAIN), make: type[Agent] = Agent) -> Agent:
    """A network of large random weights, which trades all the time."""
    manifest = manifest_with(scaled_on)
    hyper = Hyper.from_dict(manifest.hyper)
    network = Network(policy_shape(2, len(SPEC.names), LOOKBACK, hyper), torch.Generator().manual_seed(1))
    return make(Artifact(manifest, {name: 3.0 * weights for name, weights in network.state_dict().items()}))


TRAINING = Training(
    folds=(
        FoldEdges("0", ((at(960), at(1040)),), ((at(1050), at(1120)),), purge_bars=10),
        FoldEdges("1", ((at(960), at(1000)), (at(1130), at(1200))), ((at(1010), at(1120)),), 10, embargo_bars=10),
    ),
    unseen_from=at(TRAIN[1]),
)


def audited(candidate: Agent, panel: BarPanel = PANEL, **changes: Any) -> AuditReport:
    return audit(candidate, panel, RULES, **{"training": TRAINING, "weights": lambda: "5eed", **changes})


def failed(report: AuditReport) -> dict[str, str]:
    return {check.name: check.detail for check in report.failed}


def check(report: AuditReport, name: str) -> AuditCheck:
    return next(one for one in report.checks if one.name == name)


@dataclass
class Cheat:
    """A policy that decides by the last column of what it sees, on any rows that it likes."""

    decide: Callable[[int], Any]

    def __call__(self, t: int, accounts: Accounts) -> Tensor:
        share = 0.4 * np.asarray(self.decide(t), dtype=np.float64)
        return torch.from_numpy(share).expand(len(accounts), -1)


class Cheater(Agent):
    """An agent that asks `cheat` instead of its network."""

    cheat: Callable[[BarPanel], Policy]

    def policy(self, panel: BarPanel) -> Policy:  # type: ignore[override]
        return type(self).cheat(panel)


def cheater(cheat: Callable[[BarPanel], Policy]) -> Agent:
    return agent(make=type("Cheater", (Cheater,), {"cheat": staticmethod(cheat)}))


class CentredFeatures(Agent):
    """An agent whose first feature is a mean of five bars, two of them still to come."""

    def policy(self, panel: BarPanel) -> Decider:
        honest = super().policy(panel)
        features = honest.market.features.clone()
        column = features[:, :, 0]
        features[2:-2, :, 0] = (column[:-4] + column[1:-3] + column[2:-2] + column[3:-1] + column[4:]) / 5
        return Decider(honest.policy, market_arrays(panel, features.numpy()), self.hyper)


class FeaturesSinceTheBeginning(Agent):
    """An agent whose first feature grows with the length of the history that it is shown."""

    def policy(self, panel: BarPanel) -> Decider:
        honest = super().policy(panel)
        features = honest.market.features.clone()
        features[:, :, 0] += torch.arange(len(panel))[:, None] / 1000
        return Decider(honest.policy, market_arrays(panel, features.numpy()), self.hyper)


@pytest.fixture(scope="module")
def honest() -> AuditReport:
    return audited(agent())


def test_an_honest_agent_passes_every_check(honest: AuditReport) -> None:
    assert failed(honest) == {}
    assert honest.passed and honest.model == ModelId("study", 3)
    assert [one.name for one in honest.checks if one.passed is None] == ["recorded_weights"]  # no lab is asked here
    assert all(one.figure == 0 for one in honest.checks if one.name != "scales")
    require_audit(honest)


def test_the_honest_agent_trades_so_that_its_fills_say_something(honest: AuditReport) -> None:
    n_fills = int(check(honest, "fill_times").detail.split()[0].replace(",", ""))
    assert n_fills > TRADED_BARS


def test_who_peeks_at_the_next_close_is_caught_by_truncation_and_perturbation() -> None:
    def peek(panel: BarPanel) -> Policy:
        return Cheat(lambda t: panel.close[min(t + 1, len(panel) - 1)] > panel.close[t])

    found = failed(audited(cheater(peek)))
    assert {"truncated_actions", "perturbed_actions"} <= set(found)
    assert "actions moved, the first 0 rows before the newest" in found["perturbed_actions"]


def test_who_peeks_two_bars_ahead_is_seen_in_fills_and_equity() -> None:
    def peek(panel: BarPanel) -> Policy:
        return Cheat(lambda t: panel.close[min(t + 3, len(panel) - 1)] > panel.close[t])

    assert {f"perturbed_{kind}" for kind in ("actions", "fills", "equity")} <= set(failed(audited(cheater(peek))))


def test_who_reaches_for_a_bar_that_is_not_there_is_caught() -> None:
    report = audited(cheater(lambda panel: Cheat(lambda t: panel.close[t + 1] > panel.close[t])))
    assert "it cannot decide (IndexError" in failed(report)["truncated_features"]


def test_who_peeks_at_inputs_that_are_not_known_yet_is_caught() -> None:
    mood = np.random.default_rng(0).standard_normal(PANEL.close.shape)
    panel = replace(PANEL, inputs={"mood": mood})
    report = audited(
        cheater(lambda panel: Cheat(lambda t: panel.inputs["mood"][min(t + 1, len(panel) - 1)] > 0)), panel
    )
    assert "perturbed_actions" in failed(report)


def test_who_only_looks_at_how_wild_the_future_is_is_caught() -> None:
    report = audited(
        cheater(lambda panel: Cheat(lambda t: [float(panel.close[t:].max() > 30 * panel.close[t, 0])] * 2))
    )
    assert "wild" in failed(report)["perturbed_actions"]


def test_a_centred_feature_is_caught() -> None:
    found = failed(audited(agent(make=CentredFeatures)))
    assert {"truncated_features", "perturbed_features", "whole_panel_features"} <= set(found)


def test_a_feature_that_grows_with_the_history_is_caught() -> None:
    assert "history_features" in failed(audited(agent(make=FeaturesSinceTheBeginning)))


@pytest.mark.parametrize("scaled_on", [slice(TRAIN[0], len(PANEL)), slice(TRAIN[0], TRAIN[1] + 1)])
def test_scales_of_everything_or_of_one_bar_more_are_caught(scaled_on: slice) -> None:
    found = check_scales(manifest_with(scaled_on), PANEL, Training())
    assert found.passed is False and found.figure > 1e-4
    assert "largest difference from 240 training bars" in found.detail


def test_scales_cannot_pass_when_their_bars_are_gone() -> None:
    found = check_scales(manifest_with(slice(*TRAIN)), PANEL.rows(980, len(PANEL)), Training())
    assert found.passed is False and "are not all there" in found.detail


def test_a_family_without_scales_is_not_asked_for_them() -> None:
    manifest = replace(manifest_with(slice(*TRAIN)), scaler={}, learner="trees")
    assert check_scales(manifest, PANEL, Training()) == AuditCheck(
        "scales", None, 0.0, "a model of trees has no scales"
    )


def test_fills_at_the_decided_close_are_caught() -> None:
    def at_the_close(policy: Policy, panel: BarPanel, start: int, stop: int, rules: Rules) -> EpisodeResult:
        opened = np.vstack([panel.open[:1], panel.close[:-1]])
        return run(policy, replace(panel, open=opened), start, stop, rules)

    report = audited(agent(), play=at_the_close)
    assert set(failed(report)) == {"fill_times"}
    assert "the decided one closed at" in failed(report)["fill_times"]


def test_fills_without_slippage_are_caught() -> None:
    def for_nothing(policy: Policy, panel: BarPanel, start: int, stop: int, rules: Rules) -> EpisodeResult:
        return run(policy, panel, start, stop, replace(rules, costs=replace(rules.costs, slippage_bps=0.0)))

    assert set(failed(audited(agent(), play=for_nothing))) == {"fill_times"}


def test_spread_impact_and_makers_are_part_of_the_price_that_a_fill_may_have() -> None:
    panel = with_moved_opens(PANEL, np.random.default_rng(0))
    costs = CostSettings(spread_bps=8.0, impact=1.0, maker_share_frac=0.3)
    dear = Rules.of(RiskSettings(), costs).for_training()
    policies = (Restless(2, seed=1),)
    assert check_fills(policies, panel, 1000, 1060, dear, run).passed

    def dearly(policy: Policy, panel: BarPanel, start: int, stop: int, _: Rules) -> EpisodeResult:
        return run(policy, panel, start, stop, dear)

    found = check_fills(policies, panel, 1000, 1060, RULES, dearly)
    assert found.passed is False and found.figure > 50


@pytest.mark.parametrize(
    ("fold", "problem"),
    [
        (FoldEdges("0", ((at(960), at(1046)),), ((at(1050), at(1120)),), purge_bars=10), "4 bars lie between"),
        (FoldEdges("0", ((at(960), at(1047)),), ((at(1050), at(1120)),), purge_bars=3), "shorter than the lookback, 6"),
        (FoldEdges("0", ((at(960), at(1060)),), ((at(1050), at(1120)),), purge_bars=10), "overlap"),
        (FoldEdges("0", ((at(1125), at(1200)),), ((at(1050), at(1120)),), 10, embargo_bars=6), "6 are needed"),
    ],
    ids=["purged too little", "too short a purge", "overlap", "embargoed too little"],
)
def test_training_within_reach_of_a_validation_bar_is_caught(fold: FoldEdges, problem: str) -> None:
    found = check_folds(manifest_with(slice(*TRAIN)), Training((fold,)))
    assert found.passed is False and problem in found.detail


def test_what_is_wrong_with_a_models_making_is_caught_and_stops_it_with_every_reason() -> None:
    hashes = iter(["5eed", "0ther"])
    bad = Training((FoldEdges("0", ((at(960), at(1047)),), ((at(1050), at(1120)),), purge_bars=3),), at(TRAIN[1] - 5))
    report = audited(agent(slice(TRAIN[0], len(PANEL))), training=bad, weights=lambda: next(hashes))
    assert set(failed(report)) == {"scales", "fold_edges", "train_end", "weights"}
    assert check(report, "train_end").figure == 5.0
    assert failed(report)["weights"] == "hashed after 0ther, the manifest says 5eed"
    with pytest.raises(StageError, match=r"study/3 failed its audit \(scales: .*; weights: .*it stays where it is"):
        require_audit(report)


def test_a_model_that_learns_while_it_is_asked_is_caught() -> None:
    asked = [0]

    def learn(panel: BarPanel) -> Policy:
        asked[0] += 1
        return Cheat(lambda t: np.full(2, 1.0 - 0.01 * asked[0]))

    assert "same_answers" in failed(audited(cheater(learn)))


def test_what_was_never_on_record_is_skipped_and_said_and_equal_seeds_ask_the_same(honest: AuditReport) -> None:
    report = audited(agent(), training=None, weights=None)
    skipped = {one.name: one.detail for one in report.checks if one.passed is None}
    assert set(skipped) == {"fold_edges", "recorded_weights", "train_end", "weights"}
    assert report.passed and all(skipped.values())
    assert [one for one in report.checks if one.name not in skipped] == [
        one for one in honest.checks if one.name not in skipped
    ]


def test_nothing_asked_is_no_pass() -> None:
    report = AuditReport(ModelId("study", 3), (AuditCheck("weights", None, 0.0, "nothing"),))
    with pytest.raises(StageError, match="no check could be made"):
        require_audit(report)


def test_too_few_bars_or_cuts_are_refused() -> None:
    with pytest.raises(DataError, match="are too few to audit"):
        audited(agent(), PANEL.rows(0, first_row(PANEL, SPEC) + 50))
    with pytest.raises(ValueError, match="at least 5"):
        audited(agent(), n_cuts=4)


def test_cuts_lie_at_random_and_on_both_sides_of_block_edges() -> None:
    cuts = cut_rows(PANEL, 485, 5, seed=0)
    opened = PANEL.opened_at.astype("datetime64[us]").astype(np.int64) // Interval.H1.us
    edges = [cut for cut in cuts if opened[cut] % 480 == 0]
    assert edges and all(edge - 1 in cuts for edge in edges)
    assert len(cuts) >= 5 + 2 * len(edges) - 2
    assert cuts != cut_rows(PANEL, 485, 5, seed=1)


@pytest.mark.parametrize("change", [truncated, *PERTURBATIONS.values()])
def test_other_futures_leave_the_known_bars_alone_and_are_sound_bars(change: Any) -> None:
    panel = replace(PANEL, inputs={"mood": PANEL.close * 0 + 1})
    changed = change(panel, 1000, np.random.default_rng(0))
    assert changed.rows(0, 1000).fingerprint() == panel.rows(0, 1000).fingerprint()
    assert (changed.low <= np.minimum(changed.open, changed.close)).all()
    assert (np.maximum(changed.open, changed.close) <= changed.high).all()
    assert (changed.volume >= 0).all()
    if len(changed) == len(panel):
        for name in ("open", "high", "low", "close", "volume"):
            assert (getattr(changed, name)[1000:] != getattr(panel, name)[1000:]).all()
        assert (changed.inputs["mood"][1000:] != 1).all()


def test_scales_are_not_asked_for_when_the_training_bars_were_corrected_since() -> None:
    found = check_scales(manifest_with(slice(*TRAIN)), PANEL, Training(bars_have_changed=True))
    assert found.passed is None
    assert "corrected" in found.detail


def test_weights_that_the_lab_did_not_record_are_those_of_another_model() -> None:
    manifest = manifest_with(slice(*TRAIN))
    assert check_record(manifest, Training()).passed is None
    assert check_record(manifest, Training(weight_sha256=manifest.weight_sha256)).passed
    assert check_record(manifest, Training(weight_sha256="another")).passed is False
