import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch
from torch import Tensor

from cappuccino.arena.match import Score, play, score_of, window_scores
from cappuccino.arena.result import Pairing
from cappuccino.arena.windows import Window, draw_windows
from cappuccino.errors import DataError
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, as_datetime64
from cappuccino.portfolio.account import Accounts
from cappuccino.registry.identity import ModelId
from cappuccino.risk.rules import Rules
from cappuccino.settings import CostSettings, PositionSettings, ProtectionSettings, RiskSettings
from cappuccino.validation import evaluate

START = datetime(2025, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
PAIRING = Pairing(ModelId("s", 1), ModelId("s", 2), 1)
RULES = Rules.of(RiskSettings(), CostSettings())
DEMANDING = Rules.of(
    RiskSettings(
        protection=ProtectionSettings(volatility_scaled=True, trailing_stop_frac=0.5),
        position=PositionSettings(volatility_scaled=True, stop_loss_frac=1.0, stop_loss_by_symbol={"BTC/USD": 0.5}),
    ),
    CostSettings(impact=1, spread_bps=4),
)
FREE = Rules.of(RiskSettings(), CostSettings(fee_bps=0, slippage_bps=0)).without_protection()


def random_panel(interval: Interval = Interval.H1, days: int = 20, seed: int = 3) -> BarPanel:
    """Two symbols that walk at random from START on."""
    rng = np.random.default_rng(seed)
    n_bars = days * interval.per_day
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, (n_bars, 2)), axis=0))
    opens = np.vstack([[100.0, 100.0], close[:-1]]) * np.exp(rng.normal(0, 0.001, (n_bars, 2)))
    high, low = np.maximum(opens, close), np.minimum(opens, close)
    opened_at = as_datetime64(START) + np.arange(n_bars) * np.timedelta64(interval.us, "us")
    symbols, volume = ("BTC/USD", "ETH/USD"), np.ones_like(close)
    return BarPanel(interval, symbols, opened_at, opens, high, low, close, volume, close < 0)


def rising_panel(interval: Interval, growth_per_day: float) -> BarPanel:
    """Two symbols whose price at a moment is the same on bars of every interval."""
    n_bars = 20 * interval.per_day
    day = np.arange(n_bars + 1)[:, None] / interval.per_day * np.ones(2)
    price = 100 * np.exp(growth_per_day * day)
    opened_at = as_datetime64(START) + np.arange(n_bars) * np.timedelta64(interval.us, "us")
    opens, close = price[:-1], price[1:]
    symbols = ("BTC/USD", "ETH/USD")
    return BarPanel(interval, symbols, opened_at, opens, close, opens, close, np.ones_like(close), close < 0)


@dataclass(frozen=True)
class Fake:
    """A contestant that does what `weights` says: (panel, row, accounts) -> (A,) target weights."""

    weights: Callable[[BarPanel, int, Accounts], list[float]]
    interval: Interval = Interval.H1
    lookback: int = 3

    def policy(self, panel: BarPanel) -> evaluate.Policy:
        def decide(t: int, accounts: Accounts) -> Tensor:
            return torch.tensor([self.weights(panel, t, accounts)], dtype=torch.float64).repeat(len(accounts), 1)

        return decide


INVESTED = Fake(lambda panel, t, accounts: [0.5, 0.5])
IDLE = Fake(lambda panel, t, accounts: [0.0, 0.0])


def momentum(panel: BarPanel, t: int, accounts: Accounts) -> list[float]:
    """Hold what rose in the last two bars; less of it once the account is below its start."""
    size = 0.3 if float(accounts.cash_usd.sum()) > 4_000 else 0.2
    return [size if rose else 0.0 for rose in panel.close[t] > panel.close[t - 2]]


def first_days(n: int, days: float = 1, first: int = 1) -> list[Window]:
    return [(START + (first + i) * days * DAY, START + (first + i + 1) * days * DAY) for i in range(n)]


@pytest.mark.parametrize("rules", [RULES, DEMANDING], ids=["default", "under conditions"])
def test_windows_played_together_are_worth_what_each_is_alone(rules: Rules) -> None:
    panel = random_panel()
    windows = draw_windows(5, START + DAY, START + 20 * DAY, 5, 3, Interval.H1)
    fake = Fake(momentum)
    scores = window_scores(fake, panel, windows, rules, "log_return", 10_000.0)
    for (start, stop), score in zip(windows, scores, strict=True):
        first = (start - START) // timedelta(hours=1) - 1  # the bar that closes at `start`
        last = (stop - START) // timedelta(hours=1)
        alone = evaluate.run(fake.policy(panel), panel, first, last, rules)
        assert score == pytest.approx(math.log(alone.equity_usd[-1, 0] / alone.equity_usd[0, 0]), abs=1e-12)
    assert len({round(score, 9) for score in scores}) == 5


def test_a_match_goes_to_who_wins_most_windows() -> None:
    panel = rising_panel(Interval.H1, 0.02)
    up = play(PAIRING, INVESTED, IDLE, (panel, panel), first_days(3), RULES, "log_return", START)
    assert (up.winner, up.champion_wins, up.challenger_wins) == (PAIRING.champion, 3, 0)
    panel = rising_panel(Interval.H1, -0.02)
    down = play(PAIRING, INVESTED, IDLE, (panel, panel), first_days(3), RULES, "log_return", START)
    assert (down.winner, [w.challenger_score for w in down.windows]) == (PAIRING.challenger, [0.0, 0.0, 0.0])


def test_a_contestant_against_itself_draws() -> None:
    result = play(PAIRING, INVESTED, INVESTED, (random_panel(), random_panel()), first_days(5), RULES, "sharpe", START)
    assert result.winner is None


def test_a_match_repeats_bit_for_bit() -> None:
    panels = (random_panel(), random_panel())
    first, again = (play(PAIRING, Fake(momentum), INVESTED, panels, first_days(5), RULES, "alpha", START) for _ in "ab")
    assert first == again


def test_contestants_on_different_intervals_trade_the_same_time() -> None:
    # 2 % a day for two days, and both are invested from the window's first bar on.
    panels = (rising_panel(Interval.H1, 0.02), rising_panel(Interval.H4, 0.02))
    slow = replace(INVESTED, interval=Interval.H4)
    windows = first_days(3, days=2)
    result = play(PAIRING, INVESTED, slow, panels, windows, FREE, "log_return", START)
    assert [w.champion_score for w in result.windows] == pytest.approx([0.04] * 3, rel=1e-9)
    assert [w.challenger_score for w in result.windows] == pytest.approx([0.04] * 3, rel=1e-9)


def test_a_contestant_decides_only_on_bars_that_have_closed_and_on_every_one_of_the_window() -> None:
    seen: list[int] = []

    def spy(panel: BarPanel, t: int, accounts: Accounts) -> list[float]:
        seen.append(t)
        return [0.0, 0.0]

    (start, stop) = first_days(1)[0]
    window_scores(Fake(spy), random_panel(), [(start, stop)], RULES, "log_return", 10_000.0)
    # Row 23 closes when the window starts; the decision at row 46 is filled in the window's last bar.
    assert seen == list(range(23, 47))


def test_every_window_starts_from_the_same_cash_and_knows_nothing_of_the_others() -> None:
    panel = random_panel()
    three, one = first_days(3), first_days(3)[1:2]
    together = window_scores(Fake(momentum), panel, three, RULES, "log_return", 10_000.0)
    alone = window_scores(Fake(momentum), panel, one, RULES, "log_return", 10_000.0)
    assert together[1] == pytest.approx(alone[0], abs=1e-12)


EQUITY = np.array([100.0, 110.0, 99.0])
BENCHMARK = np.array([0.05, 0.0])


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        ("log_return", math.log(0.99)),
        # returns 0.1 and -0.1: mean 0
        ("sharpe", 0.0),
        ("alpha", -0.01 - 0.05),
    ],
)
def test_scores_are_the_sums_done_by_hand(score: Score, expected: float) -> None:
    assert score_of(EQUITY, BENCHMARK, Interval.D1, score) == pytest.approx(expected, abs=1e-12)


def test_sharpe_is_annualised_by_the_interval() -> None:
    equity = np.array([100.0, 101.0, 104.03])  # +1 %, +3 %: mean 2 %, standard deviation sqrt(2) %
    daily = score_of(equity, BENCHMARK, Interval.D1, "sharpe")
    assert daily == pytest.approx(math.sqrt(2) * math.sqrt(365), rel=1e-9)


def test_a_window_outside_the_bars_is_refused() -> None:
    panel = random_panel(days=3)
    with pytest.raises(DataError, match="is not 24 bars of 1h"):
        window_scores(IDLE, panel, first_days(1, first=3), RULES, "log_return", 1.0)
    with pytest.raises(DataError, match="is not 24 bars of 1h"):
        window_scores(IDLE, panel, first_days(1, first=0), RULES, "log_return", 1.0)
    off_grid = [(START + 1.51 * DAY, START + 2.51 * DAY)]
    with pytest.raises(DataError, match="is not 24 bars of 1h"):
        window_scores(IDLE, panel, off_grid, RULES, "log_return", 1.0)


def test_a_window_without_the_history_that_a_contestant_needs_is_refused() -> None:
    panel = random_panel(days=3)
    patient = replace(IDLE, lookback=24)
    assert window_scores(patient, panel, first_days(1), RULES, "log_return", 1.0) == [0.0]
    with pytest.raises(DataError, match="begins 24 bars of 1h after the panel does, but a contestant looks back 25"):
        window_scores(replace(IDLE, lookback=25), panel, first_days(1), RULES, "log_return", 1.0)


def test_a_contestant_without_bars_of_its_interval_is_refused() -> None:
    with pytest.raises(DataError, match="a contestant trades 4h, but there are bars of 1h only"):
        window_scores(
            replace(IDLE, interval=Interval.H4),
            random_panel(),
            first_days(1),
            RULES,
            "alpha",
            1.0,
        )
