"""An ensemble decides as its members vote, verifies them, and never depends on what was asked before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from cappuccino.arena.candidate import load_candidate
from cappuccino.arena.match import play
from cappuccino.arena.result import Pairing
from cappuccino.ensemble.agent import Ensemble
from cappuccino.ensemble.contest import compete
from cappuccino.ensemble.log import VOTE_TYPES, VoteLog
from cappuccino.ensemble.votes import VOTES, Vote, agreement, outcome
from cappuccino.errors import ArtifactError, DataError
from cappuccino.features.compute import first_row as first_features
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, as_datetime
from cappuccino.portfolio.account import open_accounts
from cappuccino.registry.artifacts import folder_of
from cappuccino.registry.identity import ModelId
from cappuccino.risk.rules import Rules
from cappuccino.settings import CostSettings, RiskSettings
from cappuccino.store.warehouse import Warehouse
from cappuccino.validation.conduct import Watched
from cappuccino.validation.evaluate import run
from tests.unit.ensemble.conftest import RECALL, TRAINED, WISH, Save, save_ensemble, save_member
from tests.unit.small_lab import SPEC
from tests.unit.small_market import DAY, SYMBOLS

RULES = Rules.of(RiskSettings(), CostSettings())
MODEL = ModelId("ensemble", 0)
FLAT = open_accounts(1, 2, 10_000.0)


def first_row(panel: BarPanel) -> int:
    return int(np.searchsorted(panel.closed_at, np.datetime64(TRAINED.replace(tzinfo=None)))) + 6


def bars_up_to(panel: BarPanel, t: int, n: int) -> tuple[BarPanel, int]:
    """Return the last `n` bars up to row t, and the place of row t in them."""
    return panel.rows(max(t + 1 - n, 0), t + 1), min(n - 1, t)


def test_an_ensemble_is_a_candidate_of_the_market_of_its_members(save: Save) -> None:
    ensemble = save()
    member = ensemble.members[0]
    assert (ensemble.interval, ensemble.symbols, ensemble.lookback) == (Interval.H1, SYMBOLS, 6)
    assert ensemble.market == member.market
    assert ensemble.history_bars == member.history_bars
    assert save("adaptive").history_bars == member.history_bars + RECALL.history_bars(5)


def test_the_vote_of_each_kind_is_that_of_its_members_by_hand(save: Save, panel: BarPanel) -> None:
    t = first_row(panel)
    votes = torch.stack([member.policy(panel).action(t, FLAT)[0].double() for member in save().members])
    by_hand = {
        "mean": votes.mean(dim=0),
        "median": votes.median(dim=0).values,
        "score": (2.0 * votes[0] + 1.0 * votes[1] + 0.5 * votes[2] + 0.5 * votes[4]) / 4.0,
    }
    for vote, expected in by_hand.items():
        assert torch.allclose(save(vote).policy(panel).action(t, FLAT)[0], expected)


def test_one_wish_reads_what_the_members_agree_on(save: Save, panel: BarPanel) -> None:
    policy, t = save().policy(panel), first_row(panel)
    action = policy.action(t, FLAT)
    assert torch.equal(policy(t, FLAT), WISH.weights(action, torch.zeros(1, 2, dtype=torch.float64)))


def test_an_adaptive_ensemble_listens_to_those_who_were_right_lately(save: Save, panel: BarPanel) -> None:
    ensemble = save("adaptive")
    policy, start = ensemble.policy(panel), first_row(panel)
    ballots = [policy.ballot(t, FLAT) for t in range(start, start + 48)]
    n_active = [int(ballot.is_active.sum()) for ballot in ballots]
    assert set(n_active) == {5, 4, 3, 2}
    for ballot in ballots:
        assert ballot.weights.sum() == pytest.approx(1.0)
        assert (ballot.weights[~ballot.is_active] == 0).all()
        assert (ballot.weights[ballot.is_active] > 0).all()


@pytest.mark.parametrize("vote", VOTES)
def test_a_process_that_starts_anew_votes_as_one_that_went_on_bit_by_bit(
    save: Save, panel: BarPanel, vote: Vote
) -> None:
    """With no more bars than it says it needs, whatever bar of a season it is."""
    ensemble = save(vote)
    whole, accounts = ensemble.policy(panel), open_accounts(2, 2, 10_000.0)
    for t in range(len(panel) - 30, len(panel), 5 if vote == "adaptive" else 13):
        cut, last = bars_up_to(panel, t, ensemble.history_bars)
        anew = ensemble.policy(cut)
        assert torch.equal(anew(last, accounts), whole(t, accounts))
        ours, theirs = whole.ballot(t, accounts), anew.ballot(last, accounts)
        assert np.array_equal(ours.weights, theirs.weights)
        assert np.array_equal(ours.is_active, theirs.is_active)


def test_the_order_in_which_bars_are_asked_for_changes_nothing(save: Save, panel: BarPanel) -> None:
    ensemble, start = save("adaptive"), first_row(panel)
    forwards, backwards = ensemble.policy(panel), ensemble.policy(panel)
    rows = range(start, start + 60, 3)
    there = {t: forwards(t, FLAT) for t in rows}
    back = {t: backwards(t, FLAT) for t in reversed(rows)}
    assert all(torch.equal(there[t], back[t]) for t in rows)


@pytest.mark.parametrize("vote", VOTES)
def test_the_future_moves_no_vote(save: Save, panel: BarPanel, vote: Vote) -> None:
    ensemble, cut = save(vote), len(panel) - 40
    is_later = np.arange(len(panel))[:, None] >= cut
    wild = {name: getattr(panel, name) * np.where(is_later, 3.0, 1.0) for name in ("open", "high", "low", "close")}
    shaken = ensemble.policy(replace(panel, **wild))
    calm = ensemble.policy(panel)
    for t in range(cut - 20, cut):
        assert torch.equal(calm(t, FLAT), shaken(t, FLAT))
    assert not torch.equal(calm(cut + 1, FLAT), shaken(cut + 1, FLAT))


def test_a_panel_that_begins_too_late_to_know_the_rewards_is_refused(save: Save, panel: BarPanel) -> None:
    t = first_features(panel, SPEC) + 5
    assert torch.isfinite(save("mean").policy(panel)(t, FLAT)).all()
    with pytest.raises(DataError, match="start later, or load a longer history"):
        save("adaptive").policy(panel)(t, FLAT)
    late = panel.rows(t - 10, len(panel))
    with pytest.raises(DataError, match=r"load a longer history"):
        save("adaptive").policy(late)(10, FLAT)


def test_an_ensemble_plays_a_match_against_one_of_its_members(save: Save, panel: BarPanel) -> None:
    ensemble = save("adaptive")
    start = as_datetime(panel.closed_at[first_row(panel)])
    windows = [(start + n * DAY, start + (n + 1) * DAY) for n in range(3)]
    pairing = Pairing(ModelId("s", 0), MODEL, 1)
    played = [
        play(pairing, ensemble.members[0], ensemble, (panel, panel), windows, RULES, "log_return", start + 4 * DAY)
        for _ in range(2)
    ]
    assert played[0] == played[1]
    assert any(window.champion_score != window.challenger_score for window in played[0].windows)


def test_a_log_of_votes_changes_no_decision_and_adds_up_to_each(
    save: Save, panel: BarPanel, new_warehouse: Warehouse
) -> None:
    ensemble, start = save("adaptive"), first_row(panel)
    policy = ensemble.policy(panel)
    log = VoteLog(policy)
    watched, alone = run(log, panel, start, start + 9, RULES), run(policy, panel, start, start + 9, RULES)
    assert np.array_equal(watched.equity_usd, alone.equity_usd)
    rows = log.rows(MODEL, panel)
    assert dict(rows.schema) == VOTE_TYPES
    assert len(rows) == 8 * 5 * 2
    at_first = rows.filter(pl.col("closed_at_utc") == as_datetime(panel.closed_at[start]))
    agreed = at_first.group_by("symbol", maintain_order=True).agg((pl.col("vote") * pl.col("weight")).sum())
    assert agreed["symbol"].to_list() == list(SYMBOLS)
    assert agreed["vote"].to_list() == pytest.approx(policy.action(start, FLAT)[0].tolist())
    with new_warehouse.write() as writer:
        writer.append("desk.votes", VoteLog(policy).rows(MODEL, panel))
        assert writer.append("desk.votes", rows) == len(rows)


def test_agreement_counts_the_ballot_of_the_decision_and_nobody_votes_twice(save: Save, panel: BarPanel) -> None:
    policy, t = save("mean").policy(panel), first_row(panel)
    policy(t, FLAT)
    decided = policy._newest
    assert decided is not None
    told = policy.agreement(t, FLAT)
    assert policy._newest is decided
    assert torch.equal(told, agreement(decided[2], outcome("mean", decided[2])))
    for other in (policy.agreement(t + 1, FLAT), policy.agreement(t, FLAT)):
        assert other.shape == told.shape
    assert policy._newest is not decided
    assert torch.equal(policy.agreement(t, FLAT), told)


def test_conviction_hears_how_far_an_ensemble_agrees(save: Save, panel: BarPanel) -> None:
    """However its policy is wrapped: alone, with a log, watched, beside others."""
    policy, start = save("mean").policy(panel), first_row(panel)
    strict = replace(RULES, min_conviction=0.62)
    alone = run(policy, panel, start, start + 200, strict)
    deaf = run(lambda t, accounts: policy(t, accounts), panel, start, start + 200, strict)
    assert not np.array_equal(alone.units, deaf.units)
    for wrapped in (VoteLog(policy), Watched(policy)):
        assert np.array_equal(run(wrapped, panel, start, start + 200, strict).units, alone.units)
    contest = compete({"a": policy, "b": policy}, panel, start, start + 200, strict)
    assert np.array_equal(contest.episode.units[:, :1], alone.units)
    assert np.array_equal(contest.episode.units[:, 1:], alone.units)


def test_a_damaged_or_missing_member_is_named(save: Save, tmp_path: Path) -> None:
    save()
    weights = folder_of(tmp_path / "artifacts", ModelId("s", 2)) / "policy.pt"
    weights.write_bytes(b"?")
    with pytest.raises(ArtifactError, match=r"lacks its member s/2: .*does not match its manifest"):
        Ensemble.load(tmp_path / "artifacts", MODEL, load_candidate)
    weights.unlink()
    with pytest.raises(ArtifactError, match=r"lacks its member s/2: .*is missing"):
        Ensemble.load(tmp_path / "artifacts", MODEL, load_candidate)


def test_a_member_that_was_trained_anew_is_refused(save: Save, tmp_path: Path) -> None:
    ensemble = save()
    others = [*ensemble.members[:2], ensemble.members[3], ensemble.members[2], ensemble.members[4]]
    with pytest.raises(ArtifactError, match="member s/2 of ensemble ensemble/0 is another model than when"):
        Ensemble(ensemble.manifest, ensemble.document, others)


def test_a_damaged_document_is_refused(save: Save, tmp_path: Path) -> None:
    save()
    document = folder_of(tmp_path / "artifacts", MODEL) / "model.json"
    document.write_text(document.read_text().replace("mean", "median"))
    with pytest.raises(ArtifactError, match=r"model\.json does not match its manifest"):
        Ensemble.load(tmp_path / "artifacts", MODEL, load_candidate)


def test_ensembles_of_ensembles_and_of_several_markets_are_refused(tmp_path: Path, save: Save) -> None:
    root = tmp_path / "artifacts"
    nested = save()
    other = save_member(root, ModelId("slow", 0), TRAINED, interval=Interval.H4)
    save_ensemble(root, "mean", [nested.members[0].manifest, nested.manifest], ModelId("nested", 0))
    with pytest.raises(ArtifactError, match="is an ensemble itself"):
        Ensemble.load(root, ModelId("nested", 0), load_candidate)
    save_ensemble(root, "mean", [nested.members[0].manifest, other], ModelId("mixed", 0))
    with pytest.raises(ArtifactError, match="different markets"):
        Ensemble.load(root, ModelId("mixed", 0), load_candidate)
