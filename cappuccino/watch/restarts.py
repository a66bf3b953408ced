"""When a child of the supervisor is started again: a state machine of events and a clock, without processes.

    state    event                          next     decision
    RUNNING  ENDED                          WAITING  due after the pause: 5, 10, 20 ... 300 s
    RUNNING  HEALTHY for `health_s`         RUNNING  pauses begin anew; RECOVERED when it had ended before
    RUNNING  TICK (it cannot tell)          RUNNING  health begins anew
    WAITING  anything, once it is due       RUNNING  START; with the third within `window_s` also CALL

After a CALL every pause is the longest, until health returns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto


class Event(Enum):
    """What the supervisor sees of a child."""

    TICK = auto()
    """Time passed, and nothing is known about its health."""
    HEALTHY = auto()
    ENDED = auto()
    """Its process is gone, by itself or because the supervisor stopped it."""


class Decision(Enum):
    """What the supervisor has to do."""

    START = auto()
    CALL = auto()
    """Call a person: starting it again does not help."""
    RECOVERED = auto()
    """It has been healthy for long enough after it had ended."""


@dataclass(frozen=True)
class Policy:
    """How patient the supervisor is."""

    first_pause_s: float = 5.0
    longest_pause_s: float = 300.0
    health_s: float = 60.0
    restarts: int = 3
    """Restarts within `window_s` at which a person is called."""
    window_s: float = 300.0

    def pause_s(self, failures: int) -> float:
        """Return the pause after the `failures`-th end in a row, from 1 on; it doubles."""
        # 2.0**1024 overflows, and nobody waits that long.
        return min(self.first_pause_s * 2.0 ** min(failures - 1, 64), self.longest_pause_s)


@dataclass(frozen=True)
class Restarts:
    """State of one child; it begins as running. Times are readings of a monotonic clock, in seconds."""

    failures: int = 0
    """Ends since it was healthy for long enough."""
    due_s: float | None = None
    """When it is started again; None while it runs."""
    healthy_since_s: float | None = None
    restarted_at_s: tuple[float, ...] = ()
    """Restarts of the last `window_s`."""
    is_called: bool = False
    """A person was called and the child has not been healthy since."""


Step = tuple[Restarts, tuple[Decision, ...]]


def step(state: Restarts, event: Event, now_s: float, policy: Policy) -> Step:
    """Return the next state and what to do now."""
    if state.due_s is not None:
        return _restart(state, now_s, policy) if now_s >= state.due_s else (state, ())
    if event is Event.ENDED:
        return _ended(state, now_s, policy), ()
    if event is Event.TICK:
        return replace(state, healthy_since_s=None), ()
    return _healthy(state, now_s, policy)


def _restart(state: Restarts, now_s: float, policy: Policy) -> Step:
    recent = (*(at_s for at_s in state.restarted_at_s if now_s - at_s < policy.window_s), now_s)
    calls = len(recent) >= policy.restarts and not state.is_called
    started = replace(state, due_s=None, restarted_at_s=recent, is_called=state.is_called or calls)
    return started, (Decision.START, Decision.CALL) if calls else (Decision.START,)


def _ended(state: Restarts, now_s: float, policy: Policy) -> Restarts:
    failures = state.failures + 1
    pause_s = policy.longest_pause_s if state.is_called else policy.pause_s(failures)
    return replace(state, failures=failures, due_s=now_s + pause_s, healthy_since_s=None)


def _healthy(state: Restarts, now_s: float, policy: Policy) -> Step:
    since_s = now_s if state.healthy_since_s is None else state.healthy_since_s
    if now_s - since_s < policy.health_s:
        return replace(state, healthy_since_s=since_s), ()
    decisions = (Decision.RECOVERED,) if state.failures else ()
    return replace(state, failures=0, healthy_since_s=since_s, is_called=False), decisions
