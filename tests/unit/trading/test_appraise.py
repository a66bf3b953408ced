from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cappuccino.market.interval import Interval
from cappuccino.market.sync import load_panel
from cappuccino.registry import moves
from cappuccino.registry.identity import ModelId
from cappuccino.registry.record import decide
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.trading.appraise import appraise_production, own_measures
from cappuccino.trading.paper import trade_paper
from cappuccino.validation.baselines import BASELINES
from tests.unit.small_lab import add_study, add_trial, replace_production, save_model
from tests.unit.small_market import DAY, HOUR, START, SYMBOLS

MODEL = ModelId("s", 1)
OPENING = START + 25 * DAY


@pytest.fixture
def desk(full_warehouse: Warehouse, small_settings: Settings) -> Warehouse:
    """MODEL has come to production at OPENING, and nothing is traded yet."""
    return promoted(full_warehouse, small_settings, OPENING)


def promoted(warehouse: Warehouse, settings: Settings, moment: datetime) -> Warehouse:
    save_model(settings.artifacts, MODEL, START + 10 * DAY)
    with warehouse.write() as writer:
        add_study(writer, MODEL.study, START + 20 * DAY)
        add_trial(writer, MODEL)
    for move in (moves.enter, moves.promote, moves.promote):
        decide(warehouse, lambda book, move=move: move(book, MODEL, moment, "tried"))
    return warehouse


def rows(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.query("from lab.evaluations where scope = 'paper' order by all")


def agent_row(warehouse: Warehouse) -> dict[str, object]:
    return rows(warehouse).filter(pl.col("subject") == "agent").row(0, named=True)


def test_without_production_or_bars_there_is_nothing_to_say(
    full_warehouse: Warehouse, small_settings: Settings
) -> None:
    assert appraise_production(full_warehouse, small_settings, OPENING) == 0
    desk = promoted(full_warehouse, small_settings, OPENING)
    assert appraise_production(desk, small_settings, OPENING + DAY) == 0
    trade_paper(desk, small_settings, OPENING + HOUR)
    assert appraise_production(desk, small_settings, OPENING + HOUR) == 0
    assert rows(desk).is_empty()


def test_production_stands_beside_every_baseline_on_its_own_bars(desk: Warehouse, small_settings: Settings) -> None:
    now = OPENING + 60 * HOUR
    trade_paper(desk, small_settings, now)
    assert appraise_production(desk, small_settings, now) == 1 + len(BASELINES)
    found = rows(desk)
    assert set(found["subject"]) == {"agent", *BASELINES}
    assert found.select("scope", "paper_of", "interval", "n_bars", "from_utc", "to_utc").unique().rows() == [
        ("paper", 1, "1h", 60, OPENING, now)
    ]
    assert set(found.select("subject", "trial").rows()) == {("agent", 1), *((name, -1) for name in BASELINES)}
    cash = found.filter(pl.col("subject") == "cash").row(0, named=True)
    assert (cash["total_return_frac"], cash["fees_usd"], cash["exposure_frac"]) == (0.0, 0.0, 0.0)


def test_the_agent_s_figures_are_those_of_its_account(desk: Warehouse, small_settings: Settings) -> None:
    now = OPENING + 60 * HOUR
    trade_paper(desk, small_settings, now)
    appraise_production(desk, small_settings, now)
    equity, fills = desk.query("from desk.equity order by closed_at_utc"), desk.query("from desk.fills")
    with desk.read() as reader:
        close = load_panel(reader, SYMBOLS, Interval.H1, now, OPENING - HOUR).close
    own = agent_row(desk)
    total = equity["value_usd"][-1] / 10_000 - 1
    buy_and_hold = (close[-1] / close[0]).mean() - 1
    assert len(close) == 61
    assert own["total_return_frac"] == pytest.approx(total)
    assert own["alpha_frac"] == pytest.approx(total - buy_and_hold)
    assert equity["benchmark_usd"][-1] == pytest.approx(10_000 * (1 + buy_and_hold))
    assert own["fees_usd"] == pytest.approx(fills["fee_usd"].sum())
    assert own["slippage_usd"] == pytest.approx(equity["slippage_usd"].sum())
    assert own["exposure_frac"] == pytest.approx(equity["exposure_frac"].mean())
    assert own["trades_per_month"] == pytest.approx(len(fills) / 2.5 * 365 / 12)
    sales = fills.filter(pl.col("units") < 0)["realized_pnl_usd"]
    assert own["win_rate_frac"] == pytest.approx((sales > 0).mean())
    on_desk = desk.query("from desk.performance").row(0, named=True)
    for name in ("total_return_frac", "alpha_frac", "max_drawdown_frac", "exposure_frac"):
        assert own[name] == pytest.approx(on_desk[name]), name


def test_later_bars_replace_the_figures_and_a_repetition_changes_nothing(
    desk: Warehouse, small_settings: Settings
) -> None:
    for hours in (30, 60):
        trade_paper(desk, small_settings, OPENING + hours * HOUR)
        appraise_production(desk, small_settings, OPENING + hours * HOUR)
        assert rows(desk)["n_bars"].unique().to_list() == [hours]
    before = rows(desk)
    appraise_production(desk, small_settings, OPENING + 60 * HOUR)
    assert_frame_equal(rows(desk), before)
    assert appraise_production(desk, small_settings, OPENING + 59 * HOUR) == 0
    assert_frame_equal(rows(desk), before)


def test_an_account_that_opened_inside_a_bar_is_compared_from_its_first_decision_on(
    full_warehouse: Warehouse, small_settings: Settings
) -> None:
    desk = promoted(full_warehouse, small_settings, OPENING + 0.4 * HOUR)
    now = OPENING + 20 * HOUR
    trade_paper(desk, small_settings, now)
    assert appraise_production(desk, small_settings, now) == 7
    assert rows(desk)["n_bars"].unique().to_list() == [19]
    alpha = desk.query("select alpha_frac from desk.performance").item()
    assert agent_row(desk)["alpha_frac"] == pytest.approx(alpha)


def test_a_second_life_in_production_is_judged_alone(desk: Warehouse, small_settings: Settings) -> None:
    trade_paper(desk, small_settings, OPENING + 30 * HOUR)
    rival = ModelId(MODEL.study, MODEL.trial + 1)
    decide(desk, lambda book: replace_production(book, rival, OPENING + 30 * HOUR, "tried"))
    decide(desk, lambda book: moves.rollback(book, OPENING + 50 * HOUR, "tried"))
    now = OPENING + 60 * HOUR
    trade_paper(desk, small_settings, now)
    appraise_production(desk, small_settings, now)
    own = agent_row(desk)
    assert (own["n_bars"], own["from_utc"]) == (10, OPENING + 50 * HOUR)
    fees = desk.query("select sum(fee_usd) from desk.fills where filled_at_utc >= $then", then=OPENING + 50 * HOUR)
    assert own["fees_usd"] == pytest.approx(fees.item())


def test_bars_that_the_trader_slept_through_changed_nothing(desk: Warehouse, small_settings: Settings) -> None:
    now = OPENING + 60 * HOUR
    trade_paper(desk, small_settings, now)
    with desk.write() as writer:
        writer.execute(
            "delete from desk.equity where closed_at_utc = $first or closed_at_utc between $start and $stop",
            first=OPENING + HOUR,
            start=OPENING + 20 * HOUR,
            stop=OPENING + 22 * HOUR,
        )
    assert appraise_production(desk, small_settings, now) == 1 + len(BASELINES)
    assert rows(desk)["n_bars"].unique().to_list() == [60]
    last = desk.query("select arg_max(value_usd, closed_at_utc) from desk.equity").item()
    assert agent_row(desk)["total_return_frac"] == pytest.approx(last / 10_000 - 1)


def test_bars_that_only_the_trader_knows_yet_are_left_for_later(desk: Warehouse, small_settings: Settings) -> None:
    now = OPENING + 60 * HOUR
    trade_paper(desk, small_settings, now)
    with desk.write() as writer:
        writer.execute("delete from market.bars_all where closed_at_utc > $then", then=now - HOUR)
    appraise_production(desk, small_settings, now)
    assert rows(desk)["n_bars"].unique().to_list() == [59]


def test_measures_of_an_account_are_the_sums_done_by_hand() -> None:
    bars = pl.DataFrame(
        {
            "value_usd": [110.0, 99.0],
            "turnover_usd": [50.0, 11.0],
            "exposure_frac": [0.5, 0.3],
            "fee_usd": [1.0, 2.0],
            "slippage_usd": [0.5, 0.25],
        }
    )
    fills = pl.DataFrame({"units": [1.0, -0.5, -0.5], "realized_pnl_usd": [0.0, 6.0, -2.0]})
    found = own_measures((bars, fills, 100.0), np.array([0.02, 0.0]), Interval.D1)
    assert found.total_return_frac == pytest.approx(-0.01)
    assert found.alpha_frac == pytest.approx(-0.03)
    assert found.max_drawdown_frac == pytest.approx(0.1)
    assert (found.win_rate_frac, found.profit_factor) == (0.5, 3.0)
    assert found.turnover_per_day == pytest.approx((50 / 100 + 11 / 110) / 2)
    assert found.trades_per_month == pytest.approx(3 / 2 * 365 / 12)
    assert (found.exposure_frac, found.fees_usd, found.slippage_usd) == pytest.approx((0.4, 3.0, 0.75))
