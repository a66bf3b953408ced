"""A trader whose venue misbehaves: whatever it does, nothing is bought twice and the book is right in the end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from cappuccino.brokers.broker import Side
from tests.loopback.exchange import Exchange
from tests.loopback.handler import Fault, after_acceptance, body, cut, html, late, reset, status
from tests.loopback.trading_exchange import NotTakenError, Why
from tests.loopback.venue_desk import BTC, ETH, FIRST, LTC, SECOND, Name, VenueDesk, venue_desk

DOUBTFUL: dict[str, Fault] = {
    "HTML for 502": html(502),
    "504": status(504),
    "reset": reset,
    "silence": late(0.4),
    "garbage": body("<!doctype html>"),
    "nothing": body(""),
    "half an answer": cut,
}
"""After which nobody knows whether an order was taken."""
RATES: dict[str, Fault] = {"429": status(429), "429 with Retry-After": status(429, Retry_After="7")}
"""After which an order certainly was not taken, and may be tried again."""
NOTHING = 1e-8
"""Coins that rounding leaves."""


@pytest.fixture(params=["alpaca", "coinbase"])
def name(request: pytest.FixtureRequest) -> Name:
    found: Name = request.param
    return found


@pytest.fixture
def desk(tmp_path: Path, exchange: Exchange, name: Name) -> Iterator[VenueDesk]:
    with venue_desk(tmp_path, exchange, name) as found:
        yield found


@pytest.fixture
def maker(tmp_path: Path, exchange: Exchange, name: Name) -> Iterator[VenueDesk]:
    """One that rests its orders in the book, in a market that stands still."""
    with venue_desk(tmp_path, exchange, name, execution={"style": "maker"}) as found:
        found.prices.is_still = True
        yield found


def has_sold(desk: VenueDesk) -> bool:
    return desk.held() < NOTHING


# Orders that are not answered


@pytest.mark.parametrize("fault", ["HTML for 502", "reset", "silence", "nothing"])
def test_an_order_that_was_not_taken_is_given_up_and_wished_anew(desk: VenueDesk, fault: str) -> None:
    desk.exchange.on("POST orders", DOUBTFUL[fault])
    desk.wishes[BTC] = 0.5
    desk.hour()
    desk.minutes_until(lambda: not desk.has_open(), most=2)
    assert desk.states() == ["absent"]
    desk.minute(6)
    assert [line[:5] for line in desk.said("answers")][1:] == ["over:"]
    desk.check()
    desk.hour()
    assert desk.states() == ["absent", "filled"]
    desk.minute()
    desk.check()


@pytest.mark.parametrize("fault", DOUBTFUL)
def test_an_order_that_was_taken_without_an_answer_is_found(desk: VenueDesk, fault: str) -> None:
    desk.exchange.on("POST orders", after_acceptance(DOUBTFUL[fault]))
    desk.wishes[BTC] = 0.5
    desk.hour()
    desk.minute()
    assert desk.states() == ["filled"]
    desk.check()


@pytest.mark.parametrize("fault", RATES)
def test_an_order_that_came_too_soon_is_tried_again(desk: VenueDesk, fault: str) -> None:
    desk.exchange.on("POST orders", RATES[fault])
    desk.wishes[BTC] = 0.5
    desk.hour()
    desk.minute()
    assert (desk.states(), len(desk.posts())) == (["filled"], 2)
    desk.check(resent=True)


@pytest.mark.parametrize("pause_s", [0, 60])
@pytest.mark.parametrize("is_taken", [True, False])
def test_a_start_asks_what_became_of_orders(desk: VenueDesk, is_taken: bool, pause_s: int) -> None:
    desk.exchange.on("POST orders", after_acceptance(reset) if is_taken else reset)
    desk.exchange.on("GET orders", html(503), times=None)
    desk.wishes[BTC] = 0.5
    desk.trader.poll()
    assert desk.states() == ["unknown"]
    desk.desk.clock.sleep(pause_s)
    desk.mend()
    desk.start()
    desk.minutes_until(lambda: not desk.has_open(), most=2)
    assert desk.states() == ["filled" if is_taken else "absent"]
    desk.minute()
    desk.check()


@pytest.mark.parametrize("fault", ["HTML for 502", "silence", "garbage", "429 with Retry-After"])
def test_reads_that_fail_are_said_once_and_over_by_themselves(desk: VenueDesk, fault: str) -> None:
    desk.hold()
    desk.exchange.on("GET ", {**DOUBTFUL, **RATES}[fault], times=2 if fault == "silence" else None)
    desk.minute(1 if fault == "silence" else 5)
    desk.mend()
    desk.minute(5)
    assert len(desk.said("answers")) in (0, 2)
    assert not desk.account.trouble
    desk.check()


# Protection


@pytest.mark.parametrize("fault", ["504", "reset", "429"])
def test_a_stop_is_sold_as_soon_as_the_venue_takes_it(desk: VenueDesk, fault: str) -> None:
    desk.hold()
    desk.exchange.on("POST orders", {**DOUBTFUL, **RATES}[fault], times=5)
    desk.crash()
    desk.minute(3)
    desk.mend()
    desk.minutes_until(lambda: has_sold(desk), most=2)
    desk.minute()
    assert desk.units() == 0
    desk.check(resent=True)


@pytest.mark.parametrize("fault", ["504", "reset"])
def test_a_stop_that_was_taken_without_an_answer_is_sold_once(desk: VenueDesk, fault: str) -> None:
    desk.hold()
    desk.exchange.on("POST orders", after_acceptance(DOUBTFUL[fault]))
    desk.crash()
    desk.minute(2)
    assert len(desk.sales()) == 1
    assert has_sold(desk)
    desk.check()


def test_a_stop_goes_out_after_an_outage_that_was_said_once(desk: VenueDesk) -> None:
    desk.hold()
    desk.fail(html(503))
    desk.crash()
    desk.minute(10)
    desk.mend()
    desk.minutes_until(lambda: has_sold(desk), most=2)
    desk.minute(6)
    assert len(desk.sales()) == 1
    said = desk.said("answers")
    assert len(said) <= 4
    assert said[-1].startswith("over:")
    desk.check(resent=True)


def test_half_an_hour_of_outage_ends_in_one_decision(desk: VenueDesk) -> None:
    desk.hold()
    desk.desk.clock.at += timedelta(minutes=48)
    desk.fail(reset)
    desk.wishes.update({BTC: 0.25, ETH: 0.25})
    desk.minute(30)
    desk.mend()
    n_posts = len(desk.posts())
    desk.minute(5)
    assert (len(desk.decisions()), len(desk.posts())) == (2, n_posts)
    desk.check(resent=True)
    desk.hour()
    desk.minute()
    assert (len(desk.decisions()), len(desk.posts())) == (3, n_posts + 2)
    assert desk.value_usd(ETH) == pytest.approx(desk.value_usd(BTC), rel=0.02)
    desk.check(resent=True)


@pytest.mark.parametrize("is_new", [True, False])
def test_a_halted_product_is_protected_when_it_is_back(desk: VenueDesk, is_new: bool) -> None:
    desk.hold()
    desk.venue.pairs[BTC].halted = True
    if is_new:
        desk.start()
    desk.crash()
    desk.minute(4)
    assert not has_sold(desk)
    desk.venue.pairs[BTC].halted = False
    desk.minutes_until(lambda: has_sold(desk), most=2)
    desk.minute()
    desk.check()


# Fills


def test_partial_fills_are_booked_as_they_come(desk: VenueDesk) -> None:
    desk.venue.plan_fills("0.25", "0.25", *["0"] * 8, "0.4")
    desk.wishes[BTC] = 0.5
    desk.hour()
    desk.minute()
    assert desk.states() == ["canceled"]
    assert len(desk.trader.floor.ledger.rows("select * from fills where account = ?", desk.name)) >= 2
    desk.check()


@pytest.mark.parametrize("is_new", [True, False])
def test_fills_after_the_end_are_booked(desk: VenueDesk, is_new: bool) -> None:
    desk.venue.plan_fills("0.25", "0.25")
    desk.wishes[BTC] = 0.5
    desk.hour()
    desk.minute()
    (order,) = desk.venue.orders.values()
    for share in (2, 1):
        with desk.venue.lock:
            desk.venue.fill(order, order.left_units / share)
        if is_new:
            desk.start()
        desk.minute(2)
        desk.check()
    assert not desk.said("mismatch")


def test_a_fill_that_nobody_asks_for_any_more_stops_purchases_until_it_is_adopted(desk: VenueDesk) -> None:
    desk.venue.plan_fills("0.25", "0.25")
    desk.wishes[BTC] = 0.5
    desk.hour()
    desk.minute(40)
    (order,) = desk.venue.orders.values()
    with desk.venue.lock:
        desk.venue.fill(order, order.left_units)
    desk.minute(4)
    assert len(desk.said("mismatch")) == 1
    desk.adopt()
    desk.minute(2)
    assert [line[:5] for line in desk.said("mismatch")][1:] == ["over:"]
    desk.check_book()


# Refusals


@pytest.mark.parametrize("why", ["too_small", "precision", "halted"])
def test_a_refused_purchase_is_wished_again_at_the_next_close_only(desk: VenueDesk, why: Why) -> None:
    desk.venue.refusals.append(NotTakenError(why, "no"))
    desk.wishes[BTC] = 0.5
    desk.hour()
    desk.minute(3)
    assert desk.states() == ["rejected"]
    desk.hour()
    desk.minute()
    assert desk.states() == ["rejected", "filled"]
    desk.check()


def test_a_purchase_that_the_money_does_not_suffice_for_is_made_smaller(desk: VenueDesk) -> None:
    for _ in range(2):
        desk.venue.refusals.append(NotTakenError("funds", "insufficient balance for USD"))
    desk.wishes[BTC] = 0.5
    desk.hour()
    desk.minute()
    first, second, third = desk.orders()
    assert desk.states() == ["rejected", "rejected", "filled"]
    assert first.units > second.units > third.units > first.units * Decimal("0.9")
    desk.check()


# Reads that lag


@pytest.mark.parametrize("lag", [1, 4, 16])
def test_reads_that_lag_do_not_change_what_is_ours(desk: VenueDesk, lag: int) -> None:
    for weight in (0.5, 0.0):
        desk.venue.lag = lag
        desk.wishes[BTC] = weight
        desk.hour()
        desk.minute(6)
        desk.mend()
        desk.minute(3)
        assert not desk.account.trouble
        desk.check()
    assert has_sold(desk)


def test_reads_that_go_back_make_no_order_twice(maker: VenueDesk) -> None:
    maker.venue.plan_fills("0.1", *["0"] * 100)
    maker.wishes[BTC] = 0.5
    maker.trader.poll()
    for k in range(40):
        maker.desk.clock.sleep(2)
        maker.venue.lag = 0 if k % 3 else 6
        maker.trader.work()
    maker.mend()
    maker.minute(2)
    assert maker.states() == ["canceled", "filled"]
    maker.check()


# Somebody else


@pytest.mark.parametrize("share", ["0.5", "1"])
def test_coins_that_somebody_sold_stop_purchases_until_they_are_adopted(desk: VenueDesk, share: str) -> None:
    desk.hold()
    before_usd = desk.worth_usd()
    desk.trade_by_hand(desk.venue.balances["BTC"] * Decimal(share))
    desk.minute(3)
    assert len(desk.said("mismatch")) == 1
    desk.wishes[ETH] = 0.2
    desk.hour()
    assert not desk.units(ETH)
    desk.adopt()
    desk.minute(2)
    assert not desk.account.trouble
    assert desk.worth_usd() == pytest.approx(before_usd, rel=0.02)
    desk.hour()
    desk.minute()
    assert desk.units(ETH) > 0
    desk.check_book()


def test_protection_works_while_coins_are_missing(desk: VenueDesk) -> None:
    desk.hold()
    desk.trade_by_hand(desk.venue.balances["BTC"] / 2)
    desk.minute(2)
    assert desk.account.trouble
    desk.crash()
    desk.minute(2)
    assert has_sold(desk)
    desk.adopt()
    desk.minute(2)
    desk.check_book()


def test_what_was_there_before_is_never_touched(tmp_path: Path, exchange: Exchange, name: Name) -> None:
    venue = exchange.at_alpaca if name == "alpaca" else exchange.at_coinbase
    venue.balances["BTC"] = Decimal(2)
    with venue_desk(tmp_path, exchange, name) as desk:
        theirs = venue.submit("11111111-1111-4111-8111-111111111111", LTC, Side.BUY, Decimal(10), Decimal("1.5"))
        desk.hold()
        desk.kill(flatten=True)
        desk.minute(2)
        assert (desk.units(), desk.held()) == (0, pytest.approx(2, abs=NOTHING))
        desk.resume()
        desk.hold()
        desk.crash()
        desk.minute(2)
        assert (desk.units(), desk.held()) == (0, pytest.approx(2, abs=NOTHING))
        assert theirs.is_live
        desk.check()


def test_money_that_comes_in_is_not_ours(desk: VenueDesk) -> None:
    desk.hold()
    before_usd = desk.worth_usd()
    with desk.venue.lock:
        desk.venue.balances["USD"] += 2000
    desk.minute(3)
    assert not desk.account.trouble
    assert desk.worth_usd() == pytest.approx(before_usd, rel=1e-3)
    desk.check()


# The kill switch


@pytest.mark.parametrize("fault", [reset, after_acceptance(reset), status(429)], ids=["lost", "taken", "429"])
def test_kill_and_flatten_sells_in_spite_of(desk: VenueDesk, fault: Fault) -> None:
    desk.hold()
    desk.exchange.on("POST orders", fault)
    desk.kill(flatten=True)
    desk.minute(3)
    assert has_sold(desk)
    assert desk.trader.is_obeyed
    assert len(desk.sales()) == 1
    desk.minute()
    desk.check(resent=True)


def test_a_start_in_the_middle_of_flattening_sells_once(desk: VenueDesk) -> None:
    desk.hold()
    desk.kill(flatten=True)
    desk.exchange.on("POST orders", after_acceptance(reset))
    desk.exchange.on("GET orders", html(503), times=None)
    desk.trader.poll()
    desk.mend()
    desk.start()
    desk.minute(2)
    assert desk.trader.is_obeyed
    assert len(desk.sales()) == 1
    desk.minute()
    desk.check()


def test_a_kill_ends_what_rests(maker: VenueDesk) -> None:
    maker.venue.plan_fills("0.2", *["0"] * 100)
    maker.venue.ignored_cancels = 1
    maker.wishes[BTC] = 0.5
    maker.trader.poll()
    maker.kill()
    maker.minute(2)
    assert maker.states() == ["canceled"]
    assert maker.trader.is_obeyed
    maker.minute()
    maker.check()


# Stages


def test_another_model_finds_the_account_as_it_is(desk: VenueDesk) -> None:
    desk.hold()
    units = desk.units()
    desk.replace_model()
    desk.wishers[SECOND].wishes[BTC] = 0.5
    desk.minute(2)
    assert (desk.account.model, desk.units(), len(desk.decisions())) == (SECOND, units, 1)
    desk.hour()
    desk.minute()
    assert desk.units() == pytest.approx(units, rel=0.02)
    desk.check()


def test_a_hand_over_waits_for_orders_and_sells_nothing(desk: VenueDesk) -> None:
    desk.hold(0.3)
    desk.wishes[BTC] = 0.5
    desk.exchange.on("POST orders", reset)
    desk.exchange.on("GET orders", html(503), times=3)
    desk.hour()
    desk.replace_model()
    desk.wishers[SECOND].wishes[BTC] = 0.5
    desk.minute(3)
    assert desk.account.model == SECOND
    assert not desk.decisions("flatten")
    desk.check()


def test_what_a_successor_does_not_trade_is_sold_and_what_is_there_of_new_coins_is_not_its(desk: VenueDesk) -> None:
    desk.venue.balances["LTC"] = Decimal(7)
    desk.wishers[FIRST].symbols = (BTC, ETH)
    desk.wishers[SECOND].symbols = (ETH, LTC)
    desk.hold()
    desk.replace_model()
    desk.wishers[SECOND].wishes[LTC] = 0.4
    desk.minute(3)
    assert has_sold(desk)
    assert desk.account.model == SECOND
    desk.hour()
    desk.minute(2)
    assert not desk.account.trouble
    assert desk.units(LTC) > 0
    desk.kill(flatten=True)
    desk.minute(2)
    assert desk.held(LTC) == pytest.approx(7, abs=NOTHING)
    desk.check()


@pytest.mark.parametrize("is_new", [True, False])
def test_a_demoted_model_is_sold_once(desk: VenueDesk, is_new: bool) -> None:
    desk.hold()
    desk.exchange.on("POST orders", after_acceptance(reset))
    desk.exchange.on("GET orders", html(503), times=None)
    desk.demote_model()
    desk.minute(2)
    if is_new:
        desk.start()
    desk.mend()
    desk.minute(2)
    assert desk.units() == 0
    assert len(desk.sales()) == 1
    desk.check()


def test_a_start_that_cannot_reach_the_venue_sells_nothing(desk: VenueDesk) -> None:
    desk.hold()
    desk.fail(html(503))
    desk.start()
    desk.minute(3)
    desk.mend()
    desk.minute(3)
    assert not desk.decisions("flatten")
    assert not desk.sales()
    desk.check()


# Resting


@pytest.mark.parametrize("trick", ["ignored cancel", "slow cancel", "filled while cancelled", "moving"])
@pytest.mark.parametrize("is_new", [False, True])
def test_a_resting_order_ends_filled_or_is_taken(maker: VenueDesk, trick: str, is_new: bool) -> None:
    if trick == "filled while cancelled":
        maker.venue.plan_fills(*["0"] * 20, "0.3", "0.2", "0.1", "0.4")
    maker.venue.ignored_cancels = 2 if trick == "ignored cancel" else 0
    maker.venue.slow_cancels = 4 if trick in ("slow cancel", "filled while cancelled") else 0
    maker.prices.is_still = trick != "moving"
    maker.wishes[BTC] = 0.5
    maker.trader.poll()
    for k in range(40):
        maker.desk.clock.sleep(2)
        maker.trader.work()
        if is_new and k % 13 == 7:
            maker.start()
            maker.trader.poll()
    maker.mend()
    maker.minute(2)
    assert not maker.has_open()
    assert maker.value_usd() / maker.account.cash_usd == pytest.approx(0.5, abs=0.01)
    maker.check()


def test_an_order_that_vanishes_is_given_up(maker: VenueDesk) -> None:
    maker.wishes[BTC] = 0.5
    maker.trader.poll()
    maker.venue.orders.clear()
    maker.minutes_until(lambda: not maker.has_open(), most=7)
    assert maker.states() == ["absent"]
    maker.minute(2)
    maker.check()


def test_a_stop_that_ends_a_resting_sale_sells_no_more_than_is_ours(
    tmp_path: Path, exchange: Exchange, name: Name
) -> None:
    venue = exchange.at_alpaca if name == "alpaca" else exchange.at_coinbase
    venue.balances["BTC"] = Decimal(3)
    with venue_desk(tmp_path, exchange, name, execution={"style": "maker"}) as desk:
        desk.prices.is_still = True
        desk.hold()
        desk.wishes[BTC] = 0.0
        desk.desk.clock.at = desk.desk.clock.at.replace(minute=0, second=0) + timedelta(hours=1)
        desk.venue.plan_fills("0.3", "0", "0", "0.3", *["0"] * 50)
        desk.trader.poll()
        desk.venue.slow_cancels = 3
        desk.crash()
        desk.minute(3)
        assert (desk.units(), desk.held()) == (0, pytest.approx(3, abs=NOTHING))
        desk.check()
