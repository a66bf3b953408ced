"""Whatever a venue says of an order that was sent, at whatever time, is heard without an error."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cappuccino.brokers.broker import VenueState
from cappuccino.errors import TraderError
from cappuccino.trading.order_states import OrderEvent, OrderState, after, told_by
from tests.unit.trading.small_orders import NOW, order, report

S, E = OrderState, OrderEvent
SENT = [state for state in S if state not in (S.RECORDED, S.DENIED)]


@pytest.mark.parametrize("state", SENT)
@pytest.mark.parametrize("said", VenueState)
def test_every_word_of_a_venue_has_a_meaning_in_every_state_of_a_sent_order(
    state: OrderState, said: VenueState
) -> None:
    following = after(state, told_by(said))
    assert following.is_final or not said.is_final
    if said is VenueState.FILLED or state is S.FILLED:
        assert following is S.FILLED


@pytest.mark.parametrize("event", [event for event in E if event not in (E.SEND, E.DENY)])
def test_what_was_never_sent_can_only_be_sent_or_denied(event: OrderEvent) -> None:
    with pytest.raises(TraderError, match="recorded"):
        after(S.RECORDED, event)


def test_what_was_denied_is_never_sent() -> None:
    with pytest.raises(TraderError):
        after(S.DENIED, E.SEND)


words = st.tuples(st.sampled_from(VenueState), st.integers(0, 4))


@given(st.sampled_from(SENT), st.lists(words, max_size=8))
def test_reports_in_any_order_never_take_back_what_was_filled(
    state: OrderState, said: list[tuple[VenueState, int]]
) -> None:
    known = order(units="4", state=state, sent_at=NOW)
    for venue_state, n_filled in said:
        filled = n_filled if venue_state is not VenueState.FILLED else 4
        before = known
        known = known.reported(report(known, venue_state, str(filled), "100", fee_usd=str(filled)), NOW)
        assert known.filled_units >= before.filled_units
        assert known.fee_usd >= before.fee_usd
    most = max((4 if venue_state is VenueState.FILLED else n for venue_state, n in said), default=0)
    assert known.filled_units == Decimal(most)
