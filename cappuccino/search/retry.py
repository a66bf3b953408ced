"""When a trial's process ended badly: whether to try again, and with how large minibatches."""

from __future__ import annotations

from collections.abc import Sequence

MAX_RETRIES = 3
MIN_BATCH = 256
RETRIED = ("out_of_memory", "killed")


def may_retry(outcomes: Sequence[str]) -> bool:
    """Return whether a trial whose attempts ended so, newest last, gets another one.

    Interrupted attempts do not count: it was the study that ended, not the trial.
    """
    return outcomes[-1] in RETRIED and sum(outcome in RETRIED for outcome in outcomes) <= MAX_RETRIES


def batch_after(asked: int, outcomes: Sequence[str]) -> int:
    """Return the minibatch of the next attempt: halved each time that memory ran out, down to `MIN_BATCH`.

    A process that is killed once may have been anybody's victim: it goes on from its checkpoint, which needs the same
    batch. Killed again, it was the kernel's, for want of memory.
    """
    n_short = sum(outcome == "out_of_memory" for outcome in outcomes)
    n_kills = sum(outcome == "killed" for outcome in outcomes)
    return max(min(asked, MIN_BATCH), asked >> n_short + max(0, n_kills - 1))
