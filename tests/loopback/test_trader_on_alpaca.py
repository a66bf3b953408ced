"""What of Alpaca's ways bites a trader; what both venues do is in `test_trader_on_venues`."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.loopback.exchange import Exchange
from tests.loopback.handler import after_acceptance, body, html, reset, status
from tests.loopback.venue_desk import BTC, ETH, VenueDesk, venue_desk


@pytest.fixture
def desk(tmp_path: Path, exchange: Exchange) -> Iterator[VenueDesk]:
    with venue_desk(tmp_path, exchange, "alpaca") as found:
        yield found


def test_fees_in_coins_leave_nothing_behind_over_many_trades(desk: VenueDesk) -> None:
    for weight in (0.5, 0.0, 0.3, 0.0):
        desk.wishes.update({BTC: weight, ETH: weight / 2})
        desk.hour()
        desk.minute(2)
        desk.check()
    assert (desk.units(), desk.units(ETH)) == (0, 0)
    assert not desk.said("")


def test_an_order_posted_again_by_a_proxy_is_the_same_order(desk: VenueDesk) -> None:
    """A gateway that repeats a request after 504 meets the venue's own refusal of a known id."""
    desk.exchange.on("POST orders", after_acceptance(lambda handler: handler.answer()))
    desk.wishes[BTC] = 0.5
    desk.hour()
    desk.minute()
    assert desk.states() == ["filled"]
    desk.check()


def test_an_empty_list_of_positions_is_not_believed_at_once(desk: VenueDesk) -> None:
    desk.hold()
    desk.exchange.on("GET positions", body("[]"), times=1)
    desk.minute(3)
    assert not desk.said("mismatch")
    desk.exchange.on("GET positions", body("[]"), times=3)
    desk.minute(6)
    assert [line[:5] for line in desk.said("mismatch")][1:] == ["over:"]
    assert not desk.account.trouble
    desk.check()


@pytest.mark.parametrize("ahead_s", [120, -120])
def test_a_clock_that_is_wrong_is_said_until_it_is_right_and_stops_nothing(desk: VenueDesk, ahead_s: int) -> None:
    desk.hold()
    desk.venue.ahead_s = ahead_s
    desk.start()
    desk.crash()
    desk.minute(3)
    assert len(desk.said("clock")) == 1
    assert desk.units() == 0
    desk.venue.ahead_s = 0
    desk.minute(2)
    assert [line[:5] for line in desk.said("clock")][1:] == ["over:"]
    desk.check()


def test_wrong_keys_are_said_and_stops_wait_for_right_ones(desk: VenueDesk) -> None:
    desk.hold()
    desk.fail(status(401, '{"code": 40110000, "message": "request is not authorized"}'))
    desk.start()
    desk.crash()
    desk.minute(4)
    assert len(desk.said("answers")) == 1
    desk.mend()
    desk.minute(2)
    assert desk.units() == 0
    desk.minute(6)
    assert not desk.trader.floor.voice.troubles
    desk.check(resent=True)


def test_what_is_too_small_to_be_sold_is_not_ours_any_more(desk: VenueDesk) -> None:
    desk.hold()
    desk.venue.pairs[BTC].min_units = Decimal("0.0001")
    desk.start()
    desk.trade_by_hand(desk.venue.balances["BTC"] - Decimal("0.00005"))
    desk.minute(2)
    desk.adopt()
    desk.minute(2)
    assert desk.units() == 0
    desk.kill(flatten=True)
    desk.minute()
    assert desk.trader.is_obeyed
    desk.check_book()


def test_figures_are_not_adopted_while_an_order_is_under_way(desk: VenueDesk) -> None:
    desk.wishes[BTC] = 0.5
    desk.exchange.on("POST orders", after_acceptance(reset))
    desk.exchange.on("GET orders", html(503), times=None)
    desk.trader.poll()
    desk.adopt()
    desk.desk.clock.sleep(40)
    desk.trader.poll()
    desk.mend()
    desk.minute(3)
    desk.check()
