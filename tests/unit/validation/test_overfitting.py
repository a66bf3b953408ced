"""The verdict: noise is nothing, a planted edge is found, and every word has its figures."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.validation.deflated import deflated_sharpe, sharpes
from cappuccino.validation.overfitting import MIN_DAYS, Verdict, judge_study, luck_variance

N_DAYS, N_TRIALS = 365, 50
A_YEAR = math.sqrt(365)


def noise(seed: int, n_days: int = N_DAYS, n_trials: int = N_TRIALS, likeness: float = 0.0) -> np.ndarray:
    """Return daily returns (T, N) without any edge, each two trials correlated by `likeness`."""
    rng = np.random.default_rng(seed)
    common, own = rng.standard_normal((n_days, 1)), rng.standard_normal((n_days, n_trials))
    return 0.01 * (math.sqrt(likeness) * common + math.sqrt(1 - likeness) * own)


def planted(seed: int, sharpe_a_year: float, n_with_edge: int, n_days: int = N_DAYS) -> np.ndarray:
    returns = noise(seed, n_days, likeness=0.3)
    returns[:, :n_with_edge] += 0.01 * sharpe_a_year / A_YEAR
    return returns


def judged(returns: np.ndarray, n_trials: int | None = None, holdout: np.ndarray | None = None) -> Verdict:
    return judge_study(returns, n_trials or returns.shape[1], holdout, n_resamples=20)


def words(studies: list[np.ndarray], n_trials: int | None = None) -> Counter[str]:
    return Counter(judged(returns, n_trials).word for returns in studies)


@pytest.mark.parametrize("likeness", [0.0, 0.8])
def test_there_is_nothing_in_noise(likeness):
    found = words([noise(seed, likeness=likeness) for seed in range(200)])
    assert found["nothing here"] >= 0.95 * 200


def test_there_is_nothing_in_noise_with_fat_tails_and_trending_days():
    rng = np.random.default_rng(1)
    studies = 0.01 * rng.standard_t(3, (60, 180, 20))
    for t in range(1, 180):
        studies[:, t] += 0.3 * studies[:, t - 1]
    assert words(list(studies))["nothing here"] >= 0.95 * 60


def test_there_is_nothing_in_the_few_that_completed_of_many():
    found = words([noise(seed, n_trials=3) for seed in range(50)], n_trials=50)
    assert found["nothing here"] >= 49


def test_losers_of_different_sizes_hide_no_winner():
    rng = np.random.default_rng(2)
    found = words([noise(seed, likeness=0.5) - 0.002 * rng.random(N_TRIALS) for seed in range(30)])
    assert found["nothing here"] == 30


@pytest.mark.parametrize(
    ("sharpe_a_year", "n_with_edge", "n_days", "n_found"),
    # 20 studies each. One trial of fifty with a Sharpe of 2 is not told from luck in a year, one of 6 always; an edge
    # that half or all share is found sooner, though it does not matter which of them is chosen.
    [
        (2.0, 1, 365, (0, 4)),
        (6.0, 1, 365, (19, 20)),
        (3.0, 25, 365, (14, 20)),
        (4.0, 50, 365, (19, 20)),
        (2.0, 1, 730, (0, 8)),
        (4.0, 1, 730, (18, 20)),
        (3.0, 25, 730, (19, 20)),
    ],
)
def test_a_planted_edge_is_found_where_power_begins(sharpe_a_year, n_with_edge, n_days, n_found):
    found = words([planted(seed, sharpe_a_year, n_with_edge, n_days) for seed in range(20)])
    least, most = n_found
    assert least <= found["an edge"] <= most


def test_an_edge_that_half_of_the_trials_share_does_not_count_as_luck():
    # Their Sharpes are of two kinds, which the plain variance takes for luck, however strong the edge.
    verdict = judged(planted(1, 8.0, 25))
    assert verdict.word == "an edge"
    assert verdict.deflated_sharpe > 0.999
    assert verdict.deflated_sharpe_published < 0.95


def test_more_trials_started_make_the_same_figures_weaker():
    returns = planted(4, 4.0, 1)
    few, many = judged(returns), judged(returns, 5_000)
    assert few.word == "an edge"
    assert many.word == "nothing here"
    assert many.luck_sharpe_per_day > few.luck_sharpe_per_day
    assert many.deflated_sharpe < few.deflated_sharpe
    assert many.min_track_record_days > few.min_track_record_days


def test_a_holdout_that_loses_takes_the_edge_away():
    returns = planted(3, 6.0, 1)
    kept, lost = np.full(N_TRIALS, 0.1), np.full(N_TRIALS, 0.1)
    lost[0] = -0.1
    assert judged(returns, holdout=kept).word == "an edge"
    verdict = judged(returns, holdout=lost)
    assert verdict.word == "weak"
    assert verdict.decay is not None
    assert (verdict.best, verdict.decay.best_place) == (0, 50)
    assert "place 50 of 50" in verdict.reasons[-1]


def test_an_edge_of_the_first_days_only_is_not_believed():
    # 45 of 730 days, which would be plenty if days were independent.
    returns = noise(6, 730, 20)
    returns[:45, 0] += 0.05
    verdict = judged(returns)
    assert verdict.deflated_sharpe_published > 0.95
    assert verdict.serial_inflation > 2.0
    assert verdict.overfitting is not None
    assert verdict.overfitting.pbo > 0.5
    assert verdict.word == "nothing here"


def test_more_than_luck_among_equals_that_lose_now_and_then_is_weak():
    verdict = judged(planted(0, 2.0, 50))
    assert verdict.deflated_sharpe > 0.95
    assert verdict.overfitting is not None
    assert verdict.overfitting.pbo > 0.2
    assert verdict.overfitting.loss_probability > 0.05
    assert verdict.word == "weak"


def test_a_single_trial_is_believed_only_with_a_holdout():
    returns = planted(1, 6.0, 50)[:, :1]
    assert (judged(returns).word, judged(returns).overfitting) == ("weak", None)
    assert judged(returns, holdout=np.array([0.1])).word == "an edge"


def test_the_figures_are_those_of_their_own_functions():
    returns = noise(7, n_trials=12)
    verdict = judged(returns, 40)
    scores = sharpes(returns)
    assert verdict.best == scores.argmax()
    assert verdict.sharpe_daily_365 == pytest.approx(scores.max() * A_YEAR)
    assert verdict.sharpe_low_daily_365 < verdict.sharpe_daily_365 < verdict.sharpe_high_daily_365
    assert verdict.deflated_sharpe_published == deflated_sharpe(returns[:, verdict.best], 40, scores.var(ddof=1))
    assert (verdict.n_trials, verdict.n_completed, verdict.n_days) == (40, 12, N_DAYS)
    assert verdict.n_effective_trials == pytest.approx(40, rel=0.05)
    assert verdict.deflated_sharpe <= verdict.probabilistic_sharpe


def test_luck_spreads_as_sampling_does_however_alike_the_trials_are():
    assert luck_variance(101, 1.5) == 1.5 / 100


def test_a_sampler_that_gathers_its_trials_around_a_lucky_one_does_not_make_it_an_edge():
    """Their Sharpes hardly differ; that says where the sampler went, and nothing about luck."""
    rng = np.random.default_rng(4)
    tried = rng.normal(0, 0.02, (N_DAYS, 200))
    lucky = tried[:, sharpes(tried).argmax()]
    gathered = lucky[:, None] + rng.normal(0, 0.002, (N_DAYS, 300))
    verdict = judge_study(np.hstack([tried, gathered]), 500, n_resamples=50)
    assert verdict.word == "nothing here"


@pytest.mark.parametrize("returns", [np.zeros((N_DAYS, 5)), noise(1, n_days=MIN_DAYS - 1), noise(1, n_days=2)])
def test_cash_and_short_studies_hold_nothing(returns):
    verdict = judged(returns)
    assert verdict.word == "nothing here"
    assert len(verdict.reasons) >= 1


def test_agents_in_cash_beside_a_good_one_change_nothing_about_it():
    returns = np.hstack([planted(1, 6.0, 1), np.zeros((N_DAYS, 5))])
    assert (judged(returns).word, judged(returns).best) == ("an edge", 0)


@settings(max_examples=20)
@given(st.permutations(range(12)), st.floats(1e-6, 1e6))
def test_neither_the_order_nor_the_unit_of_trials_matters(order, scale):
    returns = noise(11, n_days=80, n_trials=12)
    one, other = judged(returns), judged(scale * returns[:, order])
    assert (one.word, one.best) == (other.word, order[other.best])
    for name in ("deflated_sharpe", "luck_sharpe_per_day", "sharpe_low_daily_365", "n_effective_trials"):
        assert getattr(one, name) == pytest.approx(getattr(other, name)), name


def test_every_figure_is_a_number():
    verdict = judged(noise(1), holdout=np.zeros(N_TRIALS))
    figures = [value for value in dataclasses.asdict(verdict).values() if isinstance(value, float)]
    assert len(figures) > 10
    assert not np.isnan(figures).any()


@pytest.mark.parametrize("n_trials", [0, 4])
def test_more_trials_than_were_started_cannot_complete(n_trials):
    with pytest.raises(ValueError, match="completed"):
        judge_study(noise(1, n_trials=5), n_trials)
