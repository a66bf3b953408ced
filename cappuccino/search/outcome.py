"""How a trial ended, and why: the same words whichever pool ran it."""

from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cappuccino.errors import CappuccinoError, TrainingDiverged
from cappuccino.search.diary import Diary
from cappuccino.search.trial import TrialTask
from cappuccino.search.trial_result import TrialResult

Outcome = Literal["complete", "pruned", "out_of_memory", "disk_full", "diverged", "failed", "killed", "interrupted"]
Report = Callable[[int, float], None]
"""(fold, score), after each fold; what it raises ends the trial."""
RunTrial = Callable[[TrialTask, Report, Diary], TrialResult]
"""It writes its trainings into the diary as they go on."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# torch has no class of its own for an allocation that failed on the CPU.
_SHORT_OF_MEMORY = re.compile("memory|alloc", re.IGNORECASE)


class Pruned(Exception):  # noqa: N818 - not an error
    """The coordinator sees no hope for this trial."""


@dataclass(frozen=True)
class End:
    """The end of a trial that could say so itself; a killed process cannot."""

    outcome: Outcome
    result: TrialResult | None
    """Of a complete trial."""
    reason: str
    """Empty when it completed."""


def reporter(ask: Callable[[int, float], str | None]) -> Report:
    """Return the `report` of a trial: `ask` hands a fold's score over and waits for a reason to end, or None."""

    def report(fold: int, score: float) -> None:
        reason = ask(fold, score)
        if reason is not None:
            raise Pruned(reason)

    return report


def end_of(run: RunTrial, task: TrialTask, report: Report, diary: Diary) -> End:
    """Run the trial and say how it ended; raises nothing that is an `Exception`."""
    try:
        return End("complete", run(task, report, diary), "")
    except Pruned as pruned:
        return End("pruned", None, str(pruned))
    except Exception as error:
        return end_with(error)


def end_with(error: Exception) -> End:
    """Return the end of a trial that `error` ended, wherever it was raised."""
    return End(_outcome_of(error), None, _reason_of(error))


def _outcome_of(error: Exception) -> Outcome:
    causes = _with_causes(error)
    if any(map(_is_full_disk, causes)):
        return "disk_full"
    if any(map(_is_short_of_memory, causes)):
        return "out_of_memory"
    return "diverged" if isinstance(error, TrainingDiverged) else "failed"


def _with_causes(error: BaseException) -> list[BaseException]:
    """Return `error` and what it was raised from or during: a full disk is found where it began."""
    found: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in found:
        found.append(link)
        link = link.__cause__ or link.__context__
    return found


def _is_full_disk(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in _DISK_FULL


def _is_short_of_memory(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and bool(_SHORT_OF_MEMORY.search(str(error)))
    )


def _reason_of(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"memory: {error}"
    if isinstance(error, CappuccinoError) or _outcome_of(error) != "failed":
        return str(error)[:500]
    # A mistake of ours would come again at every retry: its words go to the attempt, all of it to the log.
    traceback.print_exception(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
