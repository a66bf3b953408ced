"""Everything is sold, whatever else is under way at the venue, and nothing is tried that cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.loopback.exchange import Exchange
from tests.loopback.handler import html, reset, status
from tests.loopback.trading_exchange import NotTakenError
from tests.loopback.venue_desk import BTC, CALM, ETH, Name, VenueDesk, venue_desk

NOTHING = 2e-8
"""Coins that rounding leaves."""


@pytest.fixture(params=["alpaca", "coinbase"])
def name(request: pytest.FixtureRequest) -> Name:
    found: Name = request.param
    return found


@pytest.fixture
def desk(tmp_path: Path, exchange: Exchange, name: Name) -> Iterator[VenueDesk]:
    with venue_desk(tmp_path, exchange, name) as found:
        yield found


def test_wishes_that_do_not_end_keep_nothing_from_being_sold(tmp_path: Path, exchange: Exchange, name: Name) -> None:
    with venue_desk(tmp_path, exchange, name, execution={"style": "maker"}) as desk:
        desk.prices.is_still = True
        desk.wishes[ETH] = 0.3
        desk.hour()
        desk.minute(58)
        desk.desk.clock.sleep(60)
        desk.venue.plan_fills(*["0"] * 1000)
        desk.wishes.update({BTC: 0.3, ETH: 0.3})
        desk.trader.poll()
        desk.venue.ignored_cancels = 10**6
        desk.kill(flatten=True)
        desk.minute()
        assert desk.held(ETH) < NOTHING
        assert not desk.trader.is_obeyed
        desk.mend()
        desk.minute()
        assert desk.trader.is_obeyed
        desk.check()


def test_a_sale_that_nobody_knows_of_keeps_no_other_coin(desk: VenueDesk) -> None:
    desk.wishes.update({BTC: 0.3, ETH: 0.3})
    desk.hour()
    desk.minute(2)
    desk.exchange.on("POST orders", reset, times=1)
    desk.exchange.on("GET historical" if desk.name == "coinbase" else "GET orders", html(503), times=None)
    desk.crash()
    desk.trader.poll()
    desk.kill(flatten=True)
    desk.minute(2)
    desk.mend()
    desk.minute(3)
    assert max(desk.held(BTC), desk.held(ETH)) < NOTHING
    assert desk.trader.is_obeyed
    desk.check(resent=True)


@pytest.mark.parametrize("kind", ["flatten", "protection"])
def test_what_is_halted_is_not_decided_on_again_and_again(desk: VenueDesk, kind: str) -> None:
    desk.hold()
    desk.venue.pairs[BTC].halted = True
    if kind == "flatten":
        desk.kill(flatten=True)
    else:
        desk.crash()
    desk.minute(4)
    assert len(desk.decisions(kind)) == 1
    assert not desk.has_open()
    desk.venue.pairs[BTC].halted = False
    desk.minutes_until(lambda: desk.held() < NOTHING, most=2)


def test_a_venue_that_takes_no_sale_is_asked_rarely(desk: VenueDesk) -> None:
    desk.hold()
    desk.venue.refusals.extend(NotTakenError("other", "not today") for _ in range(1000))
    desk.kill(flatten=True)
    for _ in range(120):
        desk.trader.poll()
        desk.desk.clock.sleep(1)
    assert 3 <= len(desk.decisions("flatten")) <= 7
    desk.venue.refusals.clear()
    desk.minute(2)
    assert desk.trader.is_obeyed
    assert desk.held() < NOTHING


def test_coins_that_are_too_few_to_be_sold_do_not_keep_the_kill_switch_waiting(desk: VenueDesk) -> None:
    desk.hold()
    desk.venue.pairs[BTC].min_units = Decimal(1000)
    desk.start()
    desk.kill(flatten=True)
    desk.minute(2)
    assert desk.trader.is_obeyed
    assert not desk.decisions("flatten")


@pytest.mark.parametrize("kind", ["stop", "profit"])
def test_what_is_left_of_a_sale_that_protects_does_not_wait(
    tmp_path: Path, exchange: Exchange, name: Name, kind: str
) -> None:
    rules = {**CALM, "protection": {"trailing_stop_frac": 0.0, "profit_take_frac": 0.03}}
    with venue_desk(tmp_path, exchange, name, risk=rules) as desk:
        desk.prices.is_still = True
        desk.hold()
        before = desk.held()
        for _ in range(2):
            desk.venue.plan_fills("0.1")
        desk.prices.scale[BTC] = 0.9 if kind == "stop" else 1.08
        desk.trader.poll()
        assert desk.held() == pytest.approx(0.0 if kind == "stop" else before / 2, abs=5 * NOTHING)
        assert len(desk.decisions("protection")) == 1
        desk.minute()
        desk.check()


def test_a_refused_sale_that_protects_calls_a_person_until_it_is_taken(desk: VenueDesk) -> None:
    desk.hold()
    denied = status(403, '{"code": 1, "error": "PERMISSION_DENIED", "message": "no"}')
    desk.exchange.on("POST orders", denied, times=None)
    desk.crash()
    desk.minute(3)
    assert desk.units() > 0
    (said,) = desk.said("refused")
    assert "has to sell, and the venue refuses: BTC/USD" in said
    desk.mend()
    desk.minute(2)
    assert desk.units() == 0
    assert len(desk.said("refused")) == 2
    desk.check()
