"""Choosing thresholds: on which bars, what is stored, and that luck is called luck."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from cappuccino.errors import ConfigError, DataError, UnknownName
from cappuccino.risk.rules import Rules
from cappuccino.store.models import run_tests
from cappuccino.validation.backtest import backtest
from cappuccino.validation.evaluate import run
from cappuccino.validation.overfitting import judge_study
from cappuccino.validation.superiority import superiority
from cappuccino.validation.threshold_choice import choose_thresholds, conclusion, policy_of
from cappuccino.validation.threshold_grid import Unit
from cappuccino.validation.thresholds_record import by_symbol, header_of, points_of, store_thresholds
from tests.unit.small_lab import MODEL, TRAIN_END
from tests.unit.small_market import DAY, END, HOUR, SCHEMA, START, SYMBOLS
from tests.unit.threads import one_thread

__all__ = ["one_thread"]

FEW = {"portfolio_trailing_stop_frac": (0.0, 0.01)}


@pytest.fixture
def chosen(lab, small_settings):
    """Return a study of a few points as of the end of the record; the last `sealed_days` are the holdout."""

    def call(
        subject=str(MODEL), start=None, stop=None, *, sealed_days=5, values=FEW, settings=small_settings, **options
    ):
        training = settings.training.model_copy(update={"holdout_days": sealed_days})
        settings = settings.model_copy(update={"training": training})
        return choose_thresholds(subject, lab, settings, END, start, stop, values=values, **options)

    return call


def test_a_model_is_studied_where_its_training_ended_and_before_the_holdout(chosen):
    choice = chosen()
    assert (choice.stretch.start, choice.stretch.stop) == (TRAIN_END + 6 * HOUR, END - 5 * DAY)
    assert header_of(choice, END)["in_sample_frac"].item() == 0.0
    assert len(choice.tried) == 3


def test_a_range_that_reaches_into_the_holdout_is_refused(chosen):
    with pytest.raises(ConfigError, match=r"holdout, and thresholds .* worthless.*choose 2025-04-10 00:00 or earlier"):
        chosen(stop=END - 5 * DAY + HOUR)
    with pytest.raises(ConfigError, match="holdout"):
        chosen("momentum", stop=END)
    with pytest.raises(ConfigError, match=r"trained on bars until .* nothing after them is open"):
        chosen(sealed_days=16)
    assert chosen(stop=END - 6 * DAY).stretch.stop == END - 6 * DAY


def test_the_models_own_holdout_is_closed_as_long_as_nobody_opened_it(chosen, lab):
    with lab.write() as writer:
        writer.execute("update lab.studies set holdout_from_utc = $moment", moment=END - 8 * DAY)
    assert chosen().stretch.stop == END - 8 * DAY
    assert chosen("momentum").stretch.stop == END - 5 * DAY


def test_todays_settings_are_the_first_point_and_what_a_backtest_shows(chosen, lab, small_settings):
    choice = chosen()
    alone = backtest(str(MODEL), lab, small_settings, END, None, END - 5 * DAY, n_permutations=1)
    today = points_of(choice).row(0, named=True)
    assert today["is_today"]
    measures = alone.measures[str(MODEL)]
    assert today["total_return_frac"] == pytest.approx(measures.total_return_frac, abs=1e-9)
    assert today["trades_per_month"] == measures.trades_per_month


def test_a_baseline_trades_under_the_rules_that_are_studied(chosen):
    choice = chosen("equal_weight")
    policy = policy_of(choice.subject, choice.stretch, 7)
    panel, row = choice.stretch.panel, choice.stretch.row
    for n, point in enumerate(choice.tried.points):
        alone = run(policy, panel, row, len(panel), replace(choice.rules, **point))
        assert points_of(choice)["total_return_frac"][n] == pytest.approx(float(alone.equity_usd[-1, 0]) / 10_000 - 1)


def test_a_baseline_begins_a_year_before_the_holdout_or_as_soon_as_it_can(chosen, monkeypatch):
    assert chosen("cash").stretch.start == START + 20 * DAY + HOUR  # half of 40 days
    monkeypatch.setattr("cappuccino.validation.threshold_choice.BASELINE_DAYS", 10)
    assert chosen("cash").stretch.start == END - 15 * DAY


def test_every_point_is_a_trial_of_the_verdict_and_a_rival_of_todays(chosen):
    choice = chosen(values=None, by_symbol=True)
    assert len(choice.tried) == 47 + 3 + 2 * 4  # four other stop-losses than today's, of which off is in the grid
    daily = choice.study.daily_returns
    assert choice.verdict == judge_study(daily, len(choice.tried), seed=choice.settings.training.seed)
    assert choice.superiority == superiority(daily, seed=choice.settings.training.seed)
    assert choice.verdict.word == "nothing here"


def judged(choice, *, days=100, deflated=0.99, lead=1.0, p_value=0.01):
    verdict = replace(choice.verdict, n_days=days, deflated_sharpe=deflated)
    return replace(
        choice,
        verdict=verdict,
        superiority=replace(choice.superiority, difference_sharpe=lead, p_value=p_value),
    )


def test_the_conclusion_says_luck_where_it_is_luck(chosen):
    choice = chosen()
    assert conclusion(judged(choice, lead=0.0)) == "Today's settings are the best of the 3; nothing to change."
    assert conclusion(judged(choice, days=59)) == "The best of 3 is not told from luck."
    assert conclusion(judged(choice, deflated=0.94)) == "The best of 3 is not better than luck."
    assert "not told from today's settings" in conclusion(judged(choice, p_value=0.06))
    assert "better than luck, and better than today's" in conclusion(judged(choice))


def test_a_study_is_stored_whole_and_replaced_by_the_same_one(chosen, lab):
    choice = chosen(values={"stop_loss_frac": (0.0, 0.01)}, by_symbol=True)
    for _ in range(2):
        name = store_thresholds(lab, choice, END)
    assert lab.query("select threshold_study, n_points, best_point from lab.threshold_studies").rows() == [
        (name, len(choice.tried), choice.superiority.best)
    ]
    rows = lab.query("from lab.thresholds order by point")
    assert rows["is_today"].to_list() == [True] + [False] * 6
    assert rows.filter("is_best")["place"].to_list() == [1]
    assert rows.drop_nulls("symbol").select("symbol", "stop_loss_frac").rows() == [
        (symbol, stop) for symbol in SYMBOLS for stop in (0.0, 0.01)
    ]
    with lab.read() as reader:
        tables = ("lab.threshold_studies", "lab.thresholds")
        assert not [test for name in tables for test in run_tests(reader, SCHEMA.contracts[name]) if test.n_failed]


def test_another_range_or_grid_is_another_study(chosen):
    names = {
        chosen().name,
        chosen(stop=END - 6 * DAY).name,
        chosen(values={"profit_take_frac": (0.0,)}).name,
        chosen(unit=Unit.SCALED).name,
        chosen("cash").name,
    }
    assert len(names) == 5
    assert chosen().name in names


def test_by_symbol_the_best_is_never_worse_than_today(chosen, small_settings):
    position = small_settings.risk.position.model_copy(update={"stop_loss_by_symbol": {"ETH/USD": 0.04}})
    risk = small_settings.risk.model_copy(update={"position": position})
    settings = small_settings.model_copy(update={"risk": risk})
    choice = chosen(values={"stop_loss_frac": (0.0, 0.01, 0.02)}, by_symbol=True, settings=settings)
    rows = by_symbol(header_of(choice, END), points_of(choice))
    assert rows["symbol"].to_list() == ["all", *SYMBOLS]
    assert rows["today_frac"].to_list() == [0.1, 0.1, 0.04]
    assert (rows["gain_sharpe_daily_365"] >= 0).all()
    points = points_of(choice)
    for symbol in SYMBOLS:
        best = max(points.filter(symbol=symbol)["sharpe_daily_365"].max(), points["sharpe_daily_365"][0])
        assert rows.filter(symbol=symbol)["sharpe_daily_365"].item() == best
    plain = chosen()
    assert by_symbol(header_of(plain, END), points_of(plain)).is_empty()


def test_rules_are_those_of_the_traders(chosen, small_settings):
    assert chosen().rules == Rules.of(small_settings.risk, small_settings.costs)


def test_too_short_a_range_and_unknown_subjects_are_refused(chosen):
    with pytest.raises(DataError, match="1 whole days"):
        chosen(start=END - 7 * DAY, stop=END - 7 * DAY + timedelta(hours=40))
    with pytest.raises(UnknownName, match="nobody is called"):
        chosen("nobody")


def test_the_same_study_gives_the_same_figures(chosen):
    first, second = chosen(), chosen()
    np.testing.assert_array_equal(first.study.daily_returns, second.study.daily_returns)
    assert (first.verdict, first.superiority) == (second.verdict, second.superiority)
