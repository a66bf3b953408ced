"""When a trial's process ended badly: whether to try again, and with which hyper-parameters.

| end           | what is done about it                                                        |
| ------------- | ---------------------------------------------------------------------------- |
| out_of_memory | half the minibatch                                                           |
| killed        | the same, from its checkpoint; killed again, it was memory: half the minibatch |
| diverged      | half the learning rate, from scratch                                         |
| disk_full     | the same, from its checkpoint, after a pause                                 |

Each up to `MAX_RETRIES` times; memory and kills count together. All of it follows from how the attempts ended, so that
a study that goes on after a crash tries again as it would have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cappuccino.rl.hyper import Hyper

MAX_RETRIES = 3
MIN_BATCH = 256
_CAUSES = {"out_of_memory": "memory", "killed": "memory", "diverged": "learning rate", "disk_full": "disk"}
"""What an attempt lacked, by its outcome; other outcomes are not tried again."""


def may_retry(outcomes: Sequence[str]) -> bool:
    """Return whether a trial whose attempts ended so, newest last, gets another one.

    Interrupted attempts do not count: it was the study that ended, not the trial.
    """
    cause = _CAUSES.get(outcomes[-1])
    return cause is not None and sum(_CAUSES.get(outcome) == cause for outcome in outcomes) <= MAX_RETRIES


def hyper_after(asked: Hyper, outcomes: Sequence[str]) -> Hyper:
    """Return what the next attempt trains with; checkpoints of other hyper-parameters are not used."""
    return replace(
        asked,
        batch_size=batch_after(asked.batch_size, outcomes),
        learning_rate=asked.learning_rate / 2 ** sum(outcome == "diverged" for outcome in outcomes),
    )


def batch_after(asked: int, outcomes: Sequence[str]) -> int:
    """Return the minibatch of the next attempt: halved each time that memory ran out, down to `MIN_BATCH`.

    A process that is killed once may have been anybody's victim: it goes on from its checkpoint, which needs the same
    batch. Killed again, it was the kernel's, for want of memory.
    """
    n_short = sum(outcome == "out_of_memory" for outcome in outcomes)
    n_kills = sum(outcome == "killed" for outcome in outcomes)
    return max(min(asked, MIN_BATCH), asked >> n_short + max(0, n_kills - 1))
