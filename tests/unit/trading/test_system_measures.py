from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cappuccino.errors import DataError
from cappuccino.market.interval import Interval
from cappuccino.market.sync import load_panel
from cappuccino.registry import moves
from cappuccino.registry.identity import ModelId
from cappuccino.registry.record import decide
from cappuccino.risk.rules import Rules
from cappuccino.settings import Settings
from cappuccino.store.models import run_tests
from cappuccino.store.warehouse import Warehouse
from cappuccino.trading.paper import first_decision
from cappuccino.trading.system import trade_system
from cappuccino.trading.system_days import HISTORY, SUBJECTS, baseline_interval
from cappuccino.trading.system_measures import system_measures
from cappuccino.validation.baselines import BASELINES, benchmark_returns, run_baselines
from tests.unit.small_lab import save_model
from tests.unit.small_market import DAY, HOUR, SCHEMA, START, SYMBOLS

MODEL = ModelId("s", 1)
OPENING = START + 32 * DAY
PROMOTED, LEFT = OPENING + 1.4 * DAY, OPENING + 4.2 * DAY
CASH_USD = 10_000.0


@pytest.fixture
def desk(full_warehouse: Warehouse, small_settings: Settings) -> Warehouse:
    """MODEL is in production from PROMOTED to LEFT; nothing is traded yet."""
    save_model(small_settings.artifacts, MODEL, START + 10 * DAY)
    for moment, move in (
        (OPENING, moves.enter),
        (OPENING, moves.promote),
        (PROMOTED, moves.promote),
        (LEFT, moves.retire),
    ):
        decide(full_warehouse, lambda book, move=move, moment=moment: move(book, MODEL, moment, "tried"))
    return full_warehouse


def days(warehouse: Warehouse, *subjects: str) -> pl.DataFrame:
    return warehouse.query(
        "from desk.system_baselines where list_contains($subjects, subject) order by subject, closed_at_utc",
        subjects=list(subjects or SUBJECTS),
    )


def live_until(warehouse: Warehouse, settings: Settings, *hours: float) -> pl.DataFrame:
    """Trade and measure at each of these hours after the opening; return what the last one measured."""
    for hour in hours:
        trade_system(warehouse, settings, OPENING + hour * HOUR)
        measured = system_measures(warehouse, settings, OPENING + hour * HOUR)
    return measured


def of(measures: pl.DataFrame, subject: str) -> dict[str, float]:
    return measures.filter(pl.col("subject") == subject).drop("from_utc", "to_utc").row(0, named=True)


def test_before_a_day_has_ended_there_is_nothing_to_measure(desk: Warehouse, small_settings: Settings) -> None:
    assert system_measures(desk, small_settings, OPENING).is_empty()
    assert live_until(desk, small_settings, 0, 23).is_empty()
    assert days(desk).is_empty()


def test_every_subject_has_every_day_that_has_ended(desk: Warehouse, small_settings: Settings) -> None:
    measures = live_until(desk, small_settings, 6 * 24 + 5)
    ends = [OPENING + n * DAY for n in range(1, 7)]
    for subject in SUBJECTS:
        assert days(desk, subject)["closed_at_utc"].to_list() == ends
    assert measures["subject"].to_list() == list(SUBJECTS)
    assert measures.select("from_utc", "to_utc", "n_days").unique().rows() == [(OPENING, ends[-1], 6)]
    assert_frame_equal(desk.query("from desk.system_measures"), measures, check_row_order=False)
    with desk.read() as reader:
        for name in ("baselines", "measures"):
            assert all(one.passed for one in run_tests(reader, SCHEMA.contracts[f"desk.system_{name}"]))


def test_baselines_that_are_run_day_by_day_are_those_that_are_run_at_once(
    desk: Warehouse, small_settings: Settings
) -> None:
    measures = live_until(desk, small_settings, 24, 30, 72, 9 * 24 + 1)
    stop = OPENING + 9 * DAY
    with desk.read() as reader:
        panel = load_panel(reader, SYMBOLS, Interval.H1, stop, OPENING - HISTORY)
    start = first_decision(panel, OPENING)
    rules = Rules.of(small_settings.risk, small_settings.costs)
    whole = run_baselines(panel, start, len(panel), rules, seed=small_settings.training.seed, cash_usd=CASH_USD)
    benchmark = benchmark_returns(panel, start, len(panel))
    for n, name in enumerate(BASELINES):
        assert days(desk, name)["value_usd"].to_list() == whole.equity_usd[24::24, n].tolist(), name
        found, expected = of(measures, name), whole.measures(n, benchmark)
        for figure in (
            "total_return_frac",
            "annualized_return_frac",
            "alpha_frac",
            "win_rate_frac",
            "profit_factor",
            "turnover_per_day",
            "trades_per_month",
            "exposure_frac",
            "fees_usd",
            "slippage_usd",
        ):
            assert found[figure] == pytest.approx(getattr(expected, figure)), (name, figure)
        assert found["sharpe_annualized"] == pytest.approx(expected.sharpe_daily_365), name
    assert days(desk, "buy_and_hold")["value_usd"][-1] == pytest.approx(CASH_USD * np.prod(1 + benchmark))
    assert of(measures, "random_entry")["trades_per_month"] > 0
    assert max(of(measures, name)["win_rate_frac"] for name in BASELINES) > 0


def test_days_come_out_the_same_in_one_go_and_in_steps(
    desk: Warehouse, small_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copy = Warehouse(tmp_path_factory.mktemp("copy") / "w.duckdb")
    desk.publish(copy.file)
    at_once = live_until(copy, small_settings, 8 * 24)
    in_steps = live_until(desk, small_settings, 24, 40, 60, 60, 5 * 24, 8 * 24)
    assert_frame_equal(in_steps, at_once, check_exact=True)
    assert_frame_equal(days(desk), days(copy), check_exact=True)


def test_the_system_s_days_are_the_sums_of_its_bars_and_fills(desk: Warehouse, small_settings: Settings) -> None:
    measures = live_until(desk, small_settings, 6 * 24)
    equity, fills = desk.query("from desk.system_equity order by closed_at_utc"), desk.query("from desk.system_fills")
    own, found = days(desk, "system"), of(measures, "system")
    ends = equity.filter(pl.col("closed_at_utc").is_in(own["closed_at_utc"].implode()))
    assert own["value_usd"].to_list() == ends["value_usd"].to_list()
    assert own["fees_usd"].sum() == pytest.approx(fills["fee_usd"].sum())
    assert own["n_fills"].to_list() == [
        fills["filled_at_utc"].is_between(OPENING + n * DAY, OPENING + (n + 1) * DAY, closed="left").sum()
        for n in range(6)
    ]
    sales = fills.filter(pl.col("units") < 0)["realized_pnl_usd"]
    assert sorted(own["trade_pnls"].explode().drop_nulls()) == sorted(sales)
    before = np.array([CASH_USD, *equity["value_usd"][:-1]])
    assert own["turnover_frac"].sum() == pytest.approx((equity["turnover_usd"].to_numpy() / before).sum())
    # In production for 67 of 144 hours: from the close at 34 to the one at 101, where all is sold.
    hours = equity.filter(pl.col("study").is_not_null())
    assert len(hours) == 67
    assert found["exposure_frac"] == pytest.approx(hours["exposure_frac"].sum() / 144)
    assert found["total_return_frac"] == pytest.approx(own["value_usd"][-1] / CASH_USD - 1)
    assert found["trades_per_month"] == pytest.approx(len(fills) / 6 * 365 / 12)
    assert found["fees_usd"] > 0


def test_figures_are_those_of_the_daily_values_done_by_hand(desk: Warehouse, small_settings: Settings) -> None:
    measures = live_until(desk, small_settings, 6 * 24)
    market = days(desk, "buy_and_hold")["value_usd"].to_numpy() / CASH_USD - 1
    for subject in SUBJECTS:
        values = np.array([CASH_USD, *days(desk, subject)["value_usd"]])
        returns, found = values[1:] / values[:-1] - 1, of(measures, subject)
        assert found["alpha_frac"] == pytest.approx(values[-1] / CASH_USD - 1 - market[-1])
        assert found["max_drawdown_frac"] == pytest.approx((1 - values / np.maximum.accumulate(values)).max())
        assert found["volatility_annualized"] == pytest.approx(returns.std(ddof=1) * 365**0.5)
        if returns.std() > 0:
            assert found["sharpe_annualized"] == pytest.approx(returns.mean() / returns.std(ddof=1) * 365**0.5)
    assert of(measures, "buy_and_hold")["alpha_frac"] == 0
    assert of(measures, "cash")["total_return_frac"] == 0


def test_days_before_production_are_flat_and_those_after_it_too(desk: Warehouse, small_settings: Settings) -> None:
    live_until(desk, small_settings, 8 * 24)
    value = days(desk, "system")["value_usd"].to_list()
    assert value[0] == CASH_USD
    assert len(set(value[1:4])) == 3
    assert len(set(value[4:])) == 1


def test_an_account_that_opened_inside_a_day_begins_with_a_part_of_one(
    desk: Warehouse, small_settings: Settings
) -> None:
    """Opened 90 minutes before midnight: baselines decide at the next close, an hour and a bit before it."""
    opening = OPENING - 90 * timedelta(minutes=1)
    trade_system(desk, small_settings, opening + 26 * HOUR, opening)
    measures = system_measures(desk, small_settings, opening + 26 * HOUR)
    assert days(desk, "equal_weight")["closed_at_utc"].to_list() == [OPENING, OPENING + DAY]
    assert measures.select("from_utc", "n_days").unique().rows() == [(opening, 2)]
    with desk.read() as reader:
        close = load_panel(reader, SYMBOLS, Interval.H1, OPENING + DAY, OPENING - 2 * HOUR).close
    market = CASH_USD * (close[[1, 25]] / close[0]).mean(axis=1)
    assert days(desk, "buy_and_hold")["value_usd"].to_list() == pytest.approx(market.tolist())
    assert days(desk, "equal_weight")["n_fills"].to_list() == [2, 0]


def test_a_first_decision_at_the_end_of_a_day_makes_that_day_one_of_cash(
    desk: Warehouse, small_settings: Settings
) -> None:
    opening = OPENING - 30 * timedelta(minutes=1)
    for now in (OPENING, OPENING + DAY):  # resumed right after it
        trade_system(desk, small_settings, now, opening)
        system_measures(desk, small_settings, now)
    found = days(desk, "equal_weight", "buy_and_hold")
    assert found.filter(pl.col("closed_at_utc") == OPENING)["value_usd"].to_list() == [CASH_USD] * 2
    assert days(desk, "equal_weight")["n_fills"].to_list() == [0, 2]


def test_an_earlier_moment_measures_its_own_days_and_stores_nothing(desk: Warehouse, small_settings: Settings) -> None:
    early = live_until(desk, small_settings, 3 * 24)
    late = live_until(desk, small_settings, 6 * 24)
    stored = days(desk)
    assert_frame_equal(system_measures(desk, small_settings, OPENING + 3 * DAY), early)
    assert_frame_equal(days(desk), stored)
    assert_frame_equal(desk.query("from desk.system_measures"), late, check_row_order=False)
    assert system_measures(desk, small_settings, OPENING + HOUR).is_empty()


def test_days_without_bars_wait_for_them(desk: Warehouse, small_settings: Settings) -> None:
    """In cash the account has its rows, but nobody knows yet what the others were worth."""
    with desk.write() as writer:
        writer.execute("delete from promotion.decisions where to_stage <> 'arena'")
        writer.execute("create table later as from market.bars_all where closed_at_utc > $t", t=OPENING + 40 * HOUR)
        writer.execute("delete from market.bars_all where closed_at_utc > $t", t=OPENING + 40 * HOUR)
    assert live_until(desk, small_settings, 72)["n_days"].unique().to_list() == [1]
    with desk.write() as writer:
        writer.execute("insert into market.bars_all from later")
    assert live_until(desk, small_settings, 72)["n_days"].unique().to_list() == [3]


def test_an_opening_before_the_bars_is_an_error_that_says_so(desk: Warehouse, small_settings: Settings) -> None:
    trade_system(desk, small_settings, START + 3 * DAY, START - DAY)
    with pytest.raises(DataError, match="but they begin at 2025-03-01"):
        system_measures(desk, small_settings, START + 3 * DAY)


def test_baselines_trade_hours_where_the_base_interval_makes_hours() -> None:
    assert [baseline_interval(base) for base in (Interval.M15, Interval.M1, Interval.H1)] == [Interval.H1] * 3
    assert [baseline_interval(base) for base in (Interval.H4, Interval.D1)] == [Interval.H4, Interval.D1]
