"""The life of an order: states, what can happen to it, and what becomes of it. The whole machine is `_NEXT`.

recorded --sending--> sending --taken--> working --ask--> canceling --> canceled
   |                     |  \\--lost--> unknown --absent--> absent           |
   |--denied             |--refused--> rejected            \\--taken--> ... late, and counted all the same
"""

from __future__ import annotations

from enum import StrEnum

from cappuccino.brokers.broker import VenueState
from cappuccino.errors import TraderError


class OrderState(StrEnum):
    RECORDED = "recorded"
    """An intent: stored, and not sent."""
    SENDING = "sending"
    """Stored right before it is sent: after a crash nobody knows whether it was."""
    UNKNOWN = "unknown"
    """Sent, and not answered in a way that says whether the venue has it."""
    WORKING = "working"
    """The venue has it, and may still fill it."""
    CANCELING = "canceling"
    """We asked for its end, which has not come yet."""
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    """The venue did not take it."""
    DENIED = "denied"
    """We did not send it."""
    ABSENT = "absent"
    """Sent without an answer, and the venue has not got it."""

    @property
    def is_final(self) -> bool:
        """True when nothing more is expected; a late fill still counts."""
        return self not in _OPEN

    @property
    def is_unsure(self) -> bool:
        """True when the venue has to be asked before anything else is sent."""
        return self in (OrderState.SENDING, OrderState.UNKNOWN)


_OPEN = frozenset(
    (OrderState.RECORDED, OrderState.SENDING, OrderState.UNKNOWN, OrderState.WORKING, OrderState.CANCELING)
)


class OrderEvent(StrEnum):
    SEND = "send"
    """It is about to be sent."""
    UNSENT = "unsent"
    """The request did not leave, or the venue took nothing for now: it may be tried again."""
    LOST = "lost"
    """No answer, or none that says whether it was taken."""
    TAKEN = "taken"
    ASK = "ask"
    """Its end is asked for."""
    FILL = "fill"
    """Filled whole."""
    CANCEL = "cancel"
    EXPIRE = "expire"
    REFUSE = "refuse"
    """The venue did not take it, or threw it out."""
    DENY = "deny"
    ABSENT = "absent"


S, E = OrderState, OrderEvent
_ENDS = {E.FILL: S.FILLED, E.CANCEL: S.CANCELED, E.EXPIRE: S.EXPIRED, E.REFUSE: S.REJECTED}
_NEXT: dict[tuple[OrderState, OrderEvent], OrderState] = {
    (S.RECORDED, E.SEND): S.SENDING,
    (S.RECORDED, E.DENY): S.DENIED,
    (S.SENDING, E.UNSENT): S.RECORDED,
    (S.SENDING, E.LOST): S.UNKNOWN,
    (S.SENDING, E.TAKEN): S.WORKING,
    (S.SENDING, E.ABSENT): S.ABSENT,
    (S.UNKNOWN, E.TAKEN): S.WORKING,
    (S.UNKNOWN, E.LOST): S.UNKNOWN,
    (S.UNKNOWN, E.ABSENT): S.ABSENT,
    (S.WORKING, E.TAKEN): S.WORKING,
    (S.WORKING, E.ASK): S.CANCELING,
    (S.WORKING, E.ABSENT): S.ABSENT,
    (S.CANCELING, E.ABSENT): S.ABSENT,
    (S.CANCELING, E.TAKEN): S.CANCELING,
    (S.CANCELING, E.ASK): S.CANCELING,
    # What the venue has after all, whatever it or we said before.
    **{(end, E.TAKEN): S.WORKING for end in (S.ABSENT, S.CANCELED, S.EXPIRED, S.REJECTED)},
    **{
        (state, event): end
        for state in (S.SENDING, S.UNKNOWN, S.WORKING, S.CANCELING, S.ABSENT)
        for event, end in _ENDS.items()
    },
    # Fills that are reported after the end; a venue that calls the end by another name changes nothing.
    **{(end, event): end for end in (S.CANCELED, S.EXPIRED, S.REJECTED) for event in _ENDS},
    **{(end, E.FILL): S.FILLED for end in (S.CANCELED, S.EXPIRED, S.REJECTED)},
    # Reads that lag behind.
    **{(S.FILLED, event): S.FILLED for event in (E.TAKEN, *_ENDS)},
}

_OF_VENUE = {
    VenueState.PENDING: E.TAKEN,
    VenueState.OPEN: E.TAKEN,
    VenueState.FILLED: E.FILL,
    VenueState.CANCELED: E.CANCEL,
    VenueState.EXPIRED: E.EXPIRE,
    VenueState.REJECTED: E.REFUSE,
}


def after(state: OrderState, event: OrderEvent) -> OrderState:
    """Return the state that follows; raises TraderError for what cannot happen in `state`."""
    found = _NEXT.get((state, event))
    if found is None:
        raise TraderError(f"an order that is {state} cannot be told {event}; look at order_events in the ledger")
    return found


def told_by(state: VenueState) -> OrderEvent:
    """Return what a venue's word for an order means to us."""
    return _OF_VENUE[state]
