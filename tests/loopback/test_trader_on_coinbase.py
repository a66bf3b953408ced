"""What of Coinbase's ways bites a trader of real money; what both venues do is in `test_trader_on_venues`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cappuccino.errors import StageError
from cappuccino.trading.roster import Roster
from cappuccino.trading.staff import Permitted, Staff
from tests.loopback import coinbase_trading
from tests.loopback.exchange import Exchange
from tests.loopback.handler import Handler, html, status
from tests.loopback.test_coinbase_broker import edited
from tests.loopback.trading_exchange import NotTakenError
from tests.loopback.venue_desk import BTC, CALM, FIRST, SECOND, VenueDesk, venue_desk


@pytest.fixture
def desk(tmp_path: Path, exchange: Exchange) -> Iterator[VenueDesk]:
    with venue_desk(tmp_path, exchange, "coinbase") as found:
        yield found


def test_a_fee_that_is_told_after_the_fill_is_booked(desk: VenueDesk) -> None:
    def without_fee(answer: dict[str, Any]) -> None:
        answer["order"]["total_fees"] = "0"

    desk.exchange.on("GET orders/historical/", edited(without_fee))
    desk.venue.plan_fills("0.5", "0.4")
    desk.wishes[BTC] = 0.5
    desk.hour()
    desk.minute(2)
    assert not desk.said("")
    desk.check()


def test_a_price_that_runs_away_takes_of_the_rest_of_the_money_and_stops_nothing(desk: VenueDesk) -> None:
    def dearer(handler: Handler) -> None:
        pair = desk.venue.pairs[BTC]
        pair.bid, pair.ask = pair.bid * Decimal("1.004"), pair.ask * Decimal("1.004")
        handler.answer()

    desk.exchange.on("POST orders", dearer)
    desk.wishes[BTC] = 1.0
    desk.hour()
    desk.minute(3)
    assert float(desk.account.state.cash_usd[0]) == pytest.approx(0, abs=1e-9)
    assert not desk.account.trouble
    desk.check()


def test_the_capital_follows_its_steps(desk: VenueDesk) -> None:
    desk.hold()
    for capital_usd in (2000.0, 1500.0):
        desk.desk.permitted = replace(desk.desk.permitted, capital_usd=capital_usd)
        desk.minute(2)
        assert desk.account.cash_usd == capital_usd
        desk.check_book()
    desk.hour()
    desk.minute(2)
    assert desk.value_usd() == pytest.approx(750, rel=0.03)
    assert not desk.account.trouble
    desk.check()


def test_nothing_is_bought_after_a_start_until_the_permission_was_read(desk: VenueDesk) -> None:
    desk.hold(0.2)
    desk.wishes[BTC] = 0.5
    desk.exchange.on("GET key_permissions", html(503), times=None)
    desk.start()
    units = desk.units()
    desk.hour()
    desk.minute(2)
    assert desk.units() == units
    assert not desk.sales()
    desk.mend()
    desk.hour()
    desk.minute()
    assert desk.units() > units
    desk.check()


def test_a_permission_that_cannot_be_read_any_more_goes_on(desk: VenueDesk) -> None:
    desk.hold(0.2)
    desk.wishes[BTC] = 0.5
    desk.exchange.on("GET key_permissions", html(503), times=None)
    units = desk.units()
    desk.hour()
    desk.minute()
    assert desk.units() > units
    desk.check()


def test_tokens_of_a_clock_that_is_wrong_are_refused_and_said_once(desk: VenueDesk) -> None:
    def behind(answer: dict[str, Any]) -> None:
        answer["epochMillis"] = str(int(answer["epochMillis"]) - 120_000)

    desk.hold()
    desk.exchange.on("GET time", edited(behind), times=None)
    desk.fail(status(401, "Unauthorized"))
    desk.crash()
    desk.minute(4)
    (said,) = desk.said("answers")
    assert "our clock is +120" in said
    desk.mend()
    desk.minute(2)
    assert desk.units() == 0
    desk.minute(6)
    assert not desk.trader.floor.voice.troubles
    desk.check(resent=True)


def test_a_resting_order_that_would_cross_is_quoted_anew(tmp_path: Path, exchange: Exchange) -> None:
    with venue_desk(tmp_path, exchange, "coinbase", execution={"style": "maker"}) as desk:
        desk.prices.is_still = True
        desk.venue.refusals.append(NotTakenError("would_cross", "the order would be filled at once"))
        desk.wishes[BTC] = 0.5
        desk.hour()
        desk.minute()
        assert desk.states()[0] == "rejected"
        assert desk.states()[-1] == "filled"
        desk.check()


# Who may trade


def test_purchases_end_when_nobody_may_trade_any_more(tmp_path: Path, exchange: Exchange) -> None:
    with venue_desk(tmp_path, exchange, "coinbase", execution={"style": "maker"}) as desk:
        desk.prices.is_still = True
        desk.venue.plan_fills(*["0"] * 100)
        desk.wishes[BTC] = 0.5
        desk.trader.poll()
        assert desk.states() == ["working"]
        desk.demote_model()
        desk.minute(4)
        assert desk.states() == ["canceled"]
        assert (len(desk.posts()), desk.held()) == (1, 0)


def test_a_model_that_was_replaced_decides_no_more(desk: VenueDesk) -> None:
    desk.hold(0.2)
    desk.replace_model()
    del desk.wishers[SECOND]  # it cannot be loaded
    desk.wishes[BTC] = 0.6
    n_posts = len(desk.posts())
    desk.hour()
    desk.minute()
    assert (desk.account.model, len(desk.posts())) == (FIRST, n_posts)
    desk.crash()
    desk.minute(2)
    assert desk.held() == 0
    desk.check()


def test_with_a_damaged_record_nothing_is_bought_and_nothing_is_sold_out(desk: VenueDesk) -> None:
    desk.hold(0.2)
    known: list[Permitted] = [desk.desk.permitted]

    def permit(account: str, now: datetime) -> Permitted:
        if not known:
            raise StageError("the record of decisions is damaged")
        return known.pop()

    floor, account = desk.trader.floor, desk.account
    staff = Staff(floor, lambda: Roster(tuple(desk.desk.places), (), {}), permit)
    staff.update(desk.desk.clock.now())
    assert (staff.may_decide(account), floor.dealer(account).embargo) == (True, "")
    staff.update(desk.desk.clock.now())
    assert (staff.may_decide(account), staff.is_left(account)) == (False, False)
    assert floor.dealer(account).embargo


def test_with_keys_of_another_portfolio_nothing_is_sent(desk: VenueDesk) -> None:
    def elsewhere(answer: dict[str, Any]) -> None:
        answer["portfolio_uuid"] = "another"

    desk.hold()
    n_posts = len(desk.posts())
    desk.exchange.on("GET key_permissions", edited(elsewhere), times=None)
    desk.start()
    desk.crash()
    desk.hour()
    desk.minute(2)
    assert len(desk.posts()) == n_posts
    (said,) = desk.said("account")
    assert "account another" in said
    assert coinbase_trading.PORTFOLIO in said
    desk.mend()
    desk.start()
    desk.minute(2)
    assert (desk.held(), len(desk.said("account"))) == (0, 2)
    assert desk.said("account")[1].startswith("over:")
    desk.check()


# The rules


STRICT: dict[str, Any] = {
    **CALM,
    "protection": {"trailing_stop_frac": 0.015, "profit_take_frac": 0.03},
    "limits": {**CALM["limits"], "daily_loss_frac": 0.02, "drawdown_frac": 0.15},
}


def test_a_capital_step_is_no_profit_and_no_loss(tmp_path: Path, exchange: Exchange) -> None:
    with venue_desk(tmp_path, exchange, "coinbase", risk=STRICT) as desk:
        desk.prices.is_still = True
        desk.hold(0.5)
        for capital_usd in (2000.0, 700.0):
            desk.desk.permitted = replace(desk.desk.permitted, capital_usd=capital_usd)
            desk.minute(2)
            assert not desk.decisions("protection")
        desk.hour()
        state = desk.account.state
        assert not bool(state.lost_day.any() | state.is_broken.any())
        assert abs(float(state.mean_return_frac[0])) < 0.01


def test_stops_work_after_a_start_while_the_venue_does_not_say_what_it_accepts(desk: VenueDesk) -> None:
    desk.hold()
    desk.start()
    desk.exchange.on("GET products/", html(503), times=None)
    desk.crash()
    desk.minute(5)
    assert desk.held() == 0
    desk.mend()
    desk.check()
