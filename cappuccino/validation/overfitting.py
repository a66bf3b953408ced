"""Is there anything in this study? All figures against luck, put together into one plain word.

Three questions, asked of the trial with the best daily Sharpe:
1. Is its Sharpe more than the best of so many tries would show by luck? (deflated Sharpe)
2. Does choosing the best on some days choose something good on others? (PBO, losses out of sample)
3. Did it earn in the holdout, where there is one?
No to the first is "nothing here". Yes to all is "an edge". Anything between is "weak".

An edge against zero, not against the market: trials that are long in a rising market have one. Give returns minus those
of the benchmark to ask whether they have more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cappuccino.market.panel import FloatArray
from cappuccino.validation.bootstrap import N_RESAMPLES, sharpe_range
from cappuccino.validation.decay import Decay, decay
from cappuccino.validation.deflated import (
    TrackRecord,
    a_year,
    deflated_sharpe,
    effective_trials,
    expected_max_sharpe,
    serial_inflation,
    sharpes,
)
from cappuccino.validation.pbo import N_BLOCKS, Overfitting, probability_of_backtest_overfitting

MIN_DEFLATED_SHARPE = 0.95
MAX_PBO = 0.20
MAX_LOSS_PROBABILITY = 0.05
"""Equally good trials have a PBO of one half, since it does not matter which is chosen; losing seldom is enough."""
MIN_DAYS = 60
"""The formulas are for long records; luck has fatter tails in short ones."""
MIN_BLOCK_DAYS = 5
CONFIDENCE = 0.95

Word = Literal["nothing here", "weak", "an edge"]


@dataclass(frozen=True)
class Verdict:
    """What a study is worth, and the figures that decided; Sharpes are of daily returns, those named 365 annualised."""

    word: Word
    reasons: tuple[str, ...]
    """One sentence for each question, with its figures."""
    n_trials: int
    """Started, with the failed and pruned ones: what luck is reckoned with."""
    n_completed: int
    n_effective_trials: float
    """What the started trials are worth if those that are alike count once; for information."""
    n_days: int
    best: int
    """The column with the best Sharpe; the first of equals."""
    sharpe_per_day: float
    sharpe_daily_365: float
    """The same, annualised."""
    sharpe_low_daily_365: float
    """Ends of the 95 % bootstrap interval, annualised; they know nothing of the choice."""
    sharpe_high_daily_365: float
    serial_inflation: float
    """Variance of the best trial's mean return over that of independent days; at least 1."""
    luck_sharpe_per_day: float
    """What the best of `n_trials` without any edge is expected to show."""
    probabilistic_sharpe: float
    """Probability that the best trial's true Sharpe is positive, had it been the only one."""
    deflated_sharpe: float
    """Probability that it is above luck; decides."""
    deflated_sharpe_published: float
    """With independent days and the plain variance of the trials' Sharpes, as in the paper."""
    deflated_sharpe_effective: float
    """With `n_effective_trials`."""
    min_track_record_days: float
    """After how many days the best Sharpe would pass luck with 95 % confidence; infinite when it is below luck."""
    overfitting: Overfitting | None
    """None with one trial or fewer than 20 days, too few to cut up."""
    decay: Decay | None
    """None without a holdout."""


def judge_study(
    daily_returns: FloatArray,
    n_trials: int,
    holdout_sharpes: FloatArray | None = None,
    *,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
) -> Verdict:
    """Return the verdict on a study from net returns (T, N) of T days of its N completed trials.

    `n_trials` counts all that were started; `holdout_sharpes` (N,) are the same trials' per-day ones on days that none
    of them was chosen by; `n_resamples` are those of the interval. Raises ValueError on NaN, other shapes, fewer than
    two days, no trial, or more completed than started.
    """
    scores = sharpes(daily_returns)
    n_days, n_completed = daily_returns.shape
    if not 1 <= n_completed <= n_trials:
        raise ValueError(f"{n_completed} trials completed of {n_trials} started")
    best = int(scores.argmax())
    returns, inflation = daily_returns[:, best], serial_inflation(daily_returns)
    record = TrackRecord.of(returns, float(inflation[best]))
    n_effective = effective_trials(daily_returns) * n_trials / n_completed
    variance = luck_variance(n_days, float(inflation.mean()))
    luck = expected_max_sharpe(n_trials, variance)
    low, high = sharpe_range(returns, confidence=CONFIDENCE, n_resamples=n_resamples, seed=seed)
    choice = _choice(daily_returns)
    kept = None if holdout_sharpes is None else decay(scores, holdout_sharpes, seed)
    word, reasons = _decide(record, n_trials, luck, choice, kept)
    return Verdict(
        word=word,
        reasons=reasons,
        n_trials=n_trials,
        n_completed=n_completed,
        n_effective_trials=n_effective,
        n_days=n_days,
        best=best,
        sharpe_per_day=record.sharpe,
        sharpe_daily_365=a_year(record.sharpe),
        sharpe_low_daily_365=a_year(low),
        sharpe_high_daily_365=a_year(high),
        serial_inflation=record.inflation,
        luck_sharpe_per_day=luck,
        probabilistic_sharpe=record.probability_above(0.0),
        deflated_sharpe=record.probability_above(luck),
        deflated_sharpe_published=deflated_sharpe(returns, n_trials, _plain_variance(scores)),
        deflated_sharpe_effective=record.probability_above(expected_max_sharpe(max(1, round(n_effective)), variance)),
        min_track_record_days=record.min_length(luck, CONFIDENCE),
        overfitting=choice,
        decay=kept,
    )


def luck_variance(n_days: int, inflation: float) -> float:
    """Return the variance that luck gives to the per-day Sharpes of trials without any edge.

    The sampling error of a Sharpe of 0, inflation / (T - 1). The paper takes the trials' own variance. That is too
    large when some trials share an edge, and too small when a sampler has gathered its trials around a lucky one, which
    would make luck look like an edge.
    """
    return inflation / (n_days - 1)


def _plain_variance(scores: FloatArray) -> float:
    return float(scores.var(ddof=1)) if len(scores) > 1 else 0.0


def _choice(daily_returns: FloatArray) -> Overfitting | None:
    """Return the PBO over as many blocks as have `MIN_BLOCK_DAYS`, at most `N_BLOCKS`; None where it means nothing."""
    n_days, n_completed = daily_returns.shape
    n_blocks = min(N_BLOCKS, n_days // MIN_BLOCK_DAYS // 2 * 2)
    if n_completed < 2 or n_blocks < 4:
        return None
    return probability_of_backtest_overfitting(daily_returns, n_blocks)


def _decide(
    record: TrackRecord, n_trials: int, luck: float, choice: Overfitting | None, kept: Decay | None
) -> tuple[Word, tuple[str, ...]]:
    if record.n_periods < MIN_DAYS:
        return "nothing here", (f"{record.n_periods} days are too few to tell; {MIN_DAYS} are the least.",)
    reasons = [_luck_said(record, n_trials, luck)]
    if choice is not None:
        reasons.append(_choice_said(choice))
    if kept is not None:
        reasons.append(_holdout_said(kept))
    return _word(record.probability_above(luck), choice, kept), tuple(reasons)


def _word(deflated: float, choice: Overfitting | None, kept: Decay | None) -> Word:
    if deflated < MIN_DEFLATED_SHARPE:
        return "nothing here"
    is_tested = choice is not None or kept is not None
    choice_holds = choice is None or choice.pbo <= MAX_PBO or choice.loss_probability <= MAX_LOSS_PROBABILITY
    holdout_agrees = kept is None or kept.best_holdout > 0.0
    return "an edge" if is_tested and choice_holds and holdout_agrees else "weak"


def _luck_said(record: TrackRecord, n_trials: int, luck: float) -> str:
    return (
        f"The best Sharpe is {a_year(record.sharpe):.2f} a year, luck among {n_trials} trials gives "
        f"{a_year(luck):.2f}: deflated Sharpe {record.probability_above(luck):.3f}, {MIN_DEFLATED_SHARPE} is needed."
    )


def _choice_said(choice: Overfitting) -> str:
    return (
        f"Choosing the best overfits with probability {choice.pbo:.2f} (at most {MAX_PBO}) and loses out of sample "
        f"with probability {choice.loss_probability:.2f} (at most {MAX_LOSS_PROBABILITY}); one of the two must hold."
    )


def _holdout_said(kept: Decay) -> str:
    return (
        f"In the holdout the best has a Sharpe of {a_year(kept.best_holdout):.2f} a year, more than 0 is needed, and "
        f"place {kept.best_place} of {kept.n_trials}; ranks agree by {kept.spearman:.2f} (p {kept.p_value:.3f})."
    )
