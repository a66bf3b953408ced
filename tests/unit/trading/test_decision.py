"""What becomes of the engine's orders between two bars, without anybody who sends them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import torch

from cappuccino.brokers.broker import Instrument, Side
from cappuccino.market.interval import Interval
from cappuccino.market.quotes import Quote
from cappuccino.portfolio import engine
from cappuccino.portfolio.account import Accounts, open_accounts
from cappuccino.registry.identity import ModelId
from cappuccino.risk.rules import Rules
from cappuccino.settings import Settings
from cappuccino.trading.decision import Decision, between_bars, flatten
from cappuccino.trading.desk_account import DeskAccount
from cappuccino.trading.orders import Purpose

NOW = datetime(2025, 3, 3, 12, tzinfo=UTC)
SYMBOLS = ("A/USD", "B/USD")
SETTINGS = Settings(
    profile="paper",
    risk={"protection": {"trailing_stop_frac": 0.0, "profit_take_frac": 0.0}, "position": {"stop_loss_frac": 0.1}},
)
RULES = Rules.of(SETTINGS.risk, SETTINGS.costs)
WIDE = {symbol: Instrument(symbol) for symbol in SYMBOLS}


def account(*units: float, bought_at: float = 100.0) -> DeskAccount:
    """Return an account that has bought so much of each symbol."""
    return DeskAccount(
        key="s/1",
        broker="simulated",
        market="simulated",
        stage="sandbox",
        model=ModelId("s", 1),
        symbols=SYMBOLS,
        interval=Interval.H1,
        opened_at=NOW - timedelta(days=1),
        cash_usd=10_000.0,
        state=_held(units, bought_at),
    )


def _held(units: tuple[float, ...], bought_at: float) -> Accounts:
    state = open_accounts(1, len(SYMBOLS), 1_000.0)
    held = torch.tensor([units], dtype=torch.float64)
    paid = torch.full_like(held, bought_at)
    return engine.mark(replace(state, units=held, average_entry_usd=paid, peak_price_usd=paid), paid[0])


def quotes(*mids: float) -> dict[str, Quote]:
    return {symbol: Quote(symbol, mid, mid, NOW) for symbol, mid in zip(SYMBOLS, mids, strict=True)}


def sold(decision: Decision | None) -> dict[str, Decimal]:
    assert decision is not None
    assert all(order.side is Side.SELL for order in decision.orders)
    return {order.symbol: order.units for order in decision.orders}


def test_flattening_sells_all_that_is_held_and_nothing_else() -> None:
    decision = flatten(account(2.5, 0.0), "kill/0", quotes(100.0, 100.0), WIDE, RULES, NOW)
    assert sold(decision) == {"A/USD": Decimal("2.5")}
    assert decision is not None
    (order,) = decision.orders
    assert (order.purpose, order.limit_usd, decision.kind) == (Purpose.FLATTEN, None, "flatten")


def test_a_flat_account_has_nothing_to_sell() -> None:
    assert flatten(account(0.0, 0.0), "kill/0", quotes(100.0, 100.0), WIDE, RULES, NOW) is None


def test_flattening_again_for_the_same_reason_has_the_same_ids_and_another_attempt_others() -> None:
    ids = [
        {order.client_id for order in decision.orders}
        for why in ("kill/0", "kill/0", "kill/1")
        if (decision := flatten(account(1.0, 1.0), why, quotes(100.0, 100.0), WIDE, RULES, NOW)) is not None
    ]
    assert ids[0] == ids[1]
    assert not ids[0] & ids[2]
    assert [len(one) for one in ids] == [2, 2, 2]


def test_an_account_that_is_opened_anew_has_orders_of_other_ids() -> None:
    again = replace(account(1.0, 0.0), opened_at=NOW)
    ids = [
        decision.orders[0].client_id
        for one in (account(1.0, 0.0), again)
        if (decision := flatten(one, "kill/0", quotes(100.0, 100.0), WIDE, RULES, NOW)) is not None
    ]
    assert len(set(ids)) == 2


def test_sizes_are_rounded_down_to_what_the_venue_takes() -> None:
    steps = {symbol: Instrument(symbol, units_step=Decimal("0.1")) for symbol in SYMBOLS}
    found = flatten(account(2.59, 0.0), "kill/0", quotes(100.0, 100.0), steps, RULES, NOW)
    assert sold(found) == {"A/USD": Decimal("2.5")}


def test_what_the_venue_would_refuse_for_its_size_is_no_order_and_is_told() -> None:
    steps = {symbol: Instrument(symbol, min_units=Decimal(1)) for symbol in SYMBOLS}
    decision = flatten(account(2.0, 0.5), "kill/0", quotes(100.0, 100.0), steps, RULES, NOW)
    assert sold(decision) == {"A/USD": Decimal(2)}
    assert decision is not None
    assert set(decision.too_small) == {"B/USD"}


BARRED = [Instrument("A/USD", halted="maintenance"), Instrument("A/USD", takes_market=False), None]


@pytest.mark.parametrize("barred", BARRED, ids=["halted", "no market orders", "unknown"])
def test_what_cannot_be_traded_now_is_no_order_and_is_told(barred: Instrument | None) -> None:
    known = {"B/USD": Instrument("B/USD")} | ({"A/USD": barred} if barred else {})
    for decision in (
        flatten(account(1.0, 2.0), "kill/0", quotes(50.0, 50.0), known, RULES, NOW),
        between_bars(account(1.0, 2.0), None, quotes(50.0, 50.0), known, RULES, NOW),
    ):
        assert sold(decision) == {"B/USD": Decimal(2)}
        assert decision is not None
        assert set(decision.barred) == {"A/USD"}


def test_before_the_venue_says_what_it_accepts_everything_is_an_order() -> None:
    assert len(sold(flatten(account(1.0, 1.0), "kill/0", quotes(50.0, 50.0), {}, RULES, NOW))) == 2


def test_what_is_being_sold_is_not_sold_again() -> None:
    decision = flatten(account(1.0, 2.0), "kill/0", quotes(100.0, 100.0), WIDE, RULES, NOW, {"A/USD"})
    assert sold(decision) == {"B/USD": Decimal(2)}
    assert flatten(account(1.0, 0.0), "kill/0", quotes(100.0, 100.0), WIDE, RULES, NOW, {"A/USD"}) is None


def test_between_two_bars_nothing_is_done_while_no_stop_is_hit() -> None:
    assert between_bars(account(1.0, 1.0), None, quotes(95.0, 200.0), WIDE, RULES, NOW) is None


@pytest.mark.parametrize("fallen", [89.0, 50.0, 1e-6])
def test_between_two_bars_the_stop_sells_the_symbol_that_fell(fallen: float) -> None:
    decision = between_bars(account(1.0, 1.0), None, quotes(fallen, 100.0), WIDE, RULES, NOW)
    assert sold(decision) == {"A/USD": Decimal(1)}
    assert decision is not None
    (order,) = decision.orders
    assert (order.purpose, order.is_protective, decision.kind) == (Purpose.PROTECTION, True, "protection")
    assert decision.rules != 0
