"""The fast PBO against the slow one, against another library, and against studies whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cappuccino.validation.pbo import line, probability_of_backtest_overfitting
from cappuccino.validation.ranks import midranks
from tests.golden.oracles import golden, inputs
from tests.unit.validation.slow_cscv import slow_logits


def noise(n_periods: int, n_trials: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.01, (n_periods, n_trials))


@pytest.mark.parametrize(("n_periods", "n_trials", "n_blocks"), [(64, 5, 8), (61, 6, 6), (40, 2, 4)])
def test_sums_of_blocks_say_what_every_combination_said(n_periods, n_trials, n_blocks):
    # 61 periods do not divide by 6: the blocks are of 10 and 11.
    returns = noise(n_periods, n_trials) + 0.001
    found = probability_of_backtest_overfitting(returns, n_blocks)
    slow = slow_logits(returns, n_blocks)
    assert len(found.logits) == math.comb(n_blocks, n_blocks // 2)
    assert found.logits == pytest.approx(slow, abs=1e-12)
    assert found.pbo == np.mean([0.5 if logit == 0 else logit < 0 for logit in slow])


def test_the_pieces_of_a_large_study_are_put_together_in_order():
    # Trials that lose all the time add places below and nothing else; many trials make many pieces.
    few = noise(48, 3)
    many = np.hstack([few, noise(48, 30_000, 2) - 1.0])
    place = 1 / (1 + np.exp(-probability_of_backtest_overfitting(few, 4).logits)) * 4 + 30_000
    found = 1 / (1 + np.exp(-probability_of_backtest_overfitting(many, 4).logits)) * 30_004
    assert found == pytest.approx(place)


def test_ffn_says_the_same():
    said, returns = golden()["study"], inputs().study()
    assert inputs().digest(returns) == said["sha256"]
    found = probability_of_backtest_overfitting(returns, 8)
    assert found.logits == pytest.approx(said["ffn_logits"], abs=1e-12)
    assert found.pbo == pytest.approx(said["ffn"]["pbo"])
    assert (1 / (1 + np.exp(-found.logits))).mean() == pytest.approx(said["ffn"]["mean_rank"])


def test_two_blocks_of_two_trials_are_reckoned_by_hand():
    # The first trial has 2, 4 then -1, -3: Sharpes 3/sqrt(2) and -2/sqrt(2). The second has the halves the other way.
    returns = np.array([[2.0, -1.0], [4.0, -3.0], [-1.0, 2.0], [-3.0, 4.0]])
    found = probability_of_backtest_overfitting(returns, 2)
    # The best of either half is last of two in the other: rank 1 of 3.
    assert found.logits.tolist() == pytest.approx([math.log(1 / 2)] * 2)
    assert (found.pbo, found.loss_probability) == (1.0, 1.0)
    assert (found.slope, found.intercept) == (0.0, pytest.approx(-math.sqrt(2)))


def test_the_line_is_reckoned_by_hand():
    assert line(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0])) == (pytest.approx(2.0), pytest.approx(1.0))
    assert line(np.array([2.0, 2.0]), np.array([1.0, 3.0])) == (0.0, 2.0)


def test_noise_overfits_every_other_time():
    found = [probability_of_backtest_overfitting(noise(200, 20, seed), 8) for seed in range(100)]
    assert np.mean([study.pbo for study in found]) == pytest.approx(0.5, abs=0.05)
    assert np.mean([study.loss_probability for study in found]) == pytest.approx(0.5, abs=0.05)


def test_a_trial_with_an_edge_is_chosen_again_and_again():
    returns = noise(365, 50)
    returns[:, 17] += 0.004
    found = probability_of_backtest_overfitting(returns)
    assert found.pbo < 0.01
    assert found.loss_probability < 0.01


def test_trials_that_take_turns_overfit_always():
    # Each earns in one half of the time and loses it in the other: the best of any half is worse than most elsewhere.
    returns = noise(160, 16) / 10
    for trial in range(16):
        returns[trial * 10 : trial * 10 + 10, trial] += 0.02
    assert probability_of_backtest_overfitting(returns - returns.mean(axis=0)).pbo > 0.95


def test_a_study_of_cash_says_nothing_either_way():
    found = probability_of_backtest_overfitting(np.zeros((32, 5)), 8)
    assert (found.pbo, found.loss_probability) == (0.5, 0.0)
    assert not found.logits.any()
    assert (found.slope, found.intercept) == (0.0, 0.0)


def test_a_constant_return_counts_as_no_sharpe():
    # It varies only by rounding; dividing by that would make it the best of all.
    returns = noise(64, 3) + 0.003
    with_constant = np.hstack([returns, np.full((64, 1), 0.1)])
    with_cash = np.hstack([returns, np.zeros((64, 1))])
    assert probability_of_backtest_overfitting(with_constant, 8).logits == pytest.approx(
        probability_of_backtest_overfitting(with_cash, 8).logits
    )


def test_an_agent_that_traded_in_one_block_only_has_no_sharpe_in_the_other_half():
    returns = np.zeros((8, 2))
    returns[:2, 0] = [0.01, 0.02]
    found = probability_of_backtest_overfitting(returns, 2)
    # Inside, the first is best and then equal to cash: rank 1.5 of 2. Then both are best, with ranks 2 and 1.
    assert found.logits.tolist() == [0.0, 0.0]
    assert found.pbo == 0.5


def test_a_copy_of_the_best_shares_its_rank():
    returns = noise(64, 4) + np.array([0.0, 0.0, 0.0, 0.02])
    copied = np.hstack([returns, returns[:, 3:]])
    found = probability_of_backtest_overfitting(copied, 8)
    # Ranks 4 and 5 of 5 are 4.5 each.
    assert found.logits == pytest.approx(np.full(70, math.log(4.5 / 1.5)))


@given(st.permutations(range(6)), st.integers(0, 20))
def test_the_order_of_trials_does_not_matter(order, seed):
    returns = np.hstack([noise(32, 4, seed), np.zeros((32, 2))])
    found, again = (probability_of_backtest_overfitting(table, 4) for table in (returns, returns[:, order]))
    assert found.logits == pytest.approx(again.logits)
    assert (found.pbo, found.loss_probability) == pytest.approx((again.pbo, again.loss_probability))


@given(st.lists(st.floats(1e-200, 1e200), min_size=4, max_size=4))
def test_the_size_of_a_trial_does_not_matter(sizes):
    returns = noise(32, 4)
    found, again = (probability_of_backtest_overfitting(table, 4) for table in (returns, returns * sizes))
    assert found.logits == pytest.approx(again.logits)
    assert (found.slope, found.intercept) == pytest.approx((again.slope, again.intercept))


@given(st.integers(0, 50))
def test_a_half_and_its_complement_swap_places(seed):
    returns = noise(32, 5, seed)
    backwards = probability_of_backtest_overfitting(returns[::-1], 4)
    assert sorted(backwards.logits) == pytest.approx(sorted(probability_of_backtest_overfitting(returns, 4).logits))


def test_equals_share_the_mean_of_their_places():
    ranks = midranks(np.array([[3.0, 1.0, 3.0, 2.0], [5.0, 5.0, 5.0, 5.0]]))
    assert ranks.tolist() == [[3.5, 1.0, 3.5, 2.0], [2.5, 2.5, 2.5, 2.5]]
    assert midranks(np.array([[0.0, 1e-13, 1.0]]), 1e-12).tolist() == [[1.5, 1.5, 3.0]]


@pytest.mark.parametrize(
    ("returns", "n_blocks"),
    [(np.zeros((40, 3)), 5), (np.zeros((40, 1)), 4), (np.zeros((7, 3)), 4), (np.full((40, 3), np.nan), 4)],
)
def test_what_cannot_be_cut_up_is_refused(returns, n_blocks):
    with pytest.raises(ValueError, match=r"blocks|NaN"):
        probability_of_backtest_overfitting(returns, n_blocks)
