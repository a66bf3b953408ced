"""Good trials trained again with one thing changed: is it the seed, and which part of the reward does what?

Through the same trial code and workers as a study, on its folds, without a model at the end. Each variant is written
when it ends, so that a probe that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Literal

import polars as pl

from cappuccino.errors import TrainingError
from cappuccino.registry.version import code_version
from cappuccino.rl.hyper import Hyper
from cappuccino.search.again import Row, StudyAgain, ran_with, study_again, task_again
from cappuccino.search.diary import collapsed
from cappuccino.search.pools import TrialPool, pool_of
from cappuccino.search.spaces import REWARD_PARTS
from cappuccino.search.suggest import LAG, seed_of
from cappuccino.search.trial import TrialTask
from cappuccino.search.workers import Ended, FoldScored, warm_up
from cappuccino.settings import Settings, TrainingSettings
from cappuccino.store.warehouse import Reader, Warehouse

TABLE = "lab.variants"
Say = Callable[[str], None]
MakePool = Callable[[TrainingSettings], AbstractContextManager[TrialPool]]


@dataclass(frozen=True)
class Variant:
    """One trial with one thing changed."""

    trial: int
    kind: Literal["seed", "ablation"]
    name: str
    seed: int
    hyper: Hyper

    @property
    def key(self) -> tuple[int, str, str]:
        return self.trial, self.kind, self.name


@dataclass(frozen=True)
class Probe:
    """What to ask of a study."""

    n_seeds: int = 5
    """Other seeds for each trial."""
    ablate: bool = False
    """Whether to leave out each part of the reward, too."""
    n_trials: int = 1
    """Best trials of the study."""


@dataclass(frozen=True)
class Probed:
    """What a probe came to."""

    n_done_before: int
    n_complete: int
    n_failed: int


def variants_of(trial: int, seed: int, hyper: Hyper, probe: Probe) -> tuple[Variant, ...]:
    """Return the variants of one trial that ran with `seed` and `hyper`; always the same ones.

    Parts of the reward that it did without anyway are not left out once more.
    """
    others = [seed_of(seed, k + 1) for k in range(probe.n_seeds)]
    seeds = [Variant(trial, "seed", str(other), other, hyper) for other in others]
    parts = [part for part in REWARD_PARTS if probe.ablate and getattr(hyper, part) != 0.0]
    return (*seeds, *(Variant(trial, "ablation", part, seed, _without(hyper, part)) for part in parts))


def _without(hyper: Hyper, part: str) -> Hyper:
    return Hyper.from_dict(hyper.to_dict() | {part: 0.0})


def probe_study(
    warehouse: Warehouse,
    settings: Settings,
    study: str,
    probe: Probe,
    say: Say,
    *,
    force: bool = False,
    make_pool: MakePool = pool_of,
) -> Probed:
    """Train the variants of the best trials of `study` that lab.variants lacks, and store them there.

    Raises TrainingBusy when another process trains on this warehouse, TrainingError without a worker or a completed
    trial, and as `again.study_again` does.
    """
    if settings.training.workers == 0:
        raise TrainingError("training.workers is 0, so nothing trains; set it to at least 1")
    if settings.training.executor == "local" and make_pool is pool_of:
        warm_up()
    with study_again(warehouse, settings.warehouse, study, force=force) as again:
        if again.row["kind"] == "trees":
            raise TrainingError(f"{study} is a study of trees; only networks have seeds and rewards to vary")
        with warehouse.read() as reader:
            wanted = _wanted(reader, study, probe)
            done = _done(reader, study)
        missing = [variant for variant in wanted if variant.key not in done]
        say(f"{study}: {len(missing)} variants to train, {len(wanted) - len(missing)} are there")
        with make_pool(settings.training) as pool:
            ends = _trained(pool, again, missing, min(settings.training.workers, LAG))
            n_failed = sum(not _record(warehouse, study, variant, ended, say) for variant, ended in ends)
    return Probed(len(wanted) - len(missing), len(missing) - n_failed, n_failed)


def _wanted(reader: Reader, study: str, probe: Probe) -> list[Variant]:
    rows = reader.query(
        """
        from lab.trials where study = $study and state = 'complete' and isfinite(score)
        order by score desc, trial limit $n
        """,
        study=study,
        n=probe.n_trials,
    )
    if rows.is_empty():
        raise TrainingError(f"no trial of {study} has completed; there is nothing to vary")
    found: list[Variant] = []
    for row in rows.iter_rows(named=True):
        found += variants_of(row["trial"], row["seed"], ran_with(reader, row), probe)
    return found


def _done(reader: Reader, study: str) -> set[tuple[int, str, str]]:
    """Return the variants that completed; those that failed are tried again."""
    rows = reader.query(
        "select trial, kind, variant from lab.variants where study = $study and state = 'complete'", study=study
    )
    return set(rows.iter_rows())


def _trained(
    pool: TrialPool, again: StudyAgain, variants: Sequence[Variant], n_workers: int
) -> Iterator[tuple[Variant, Ended]]:
    """Train `variants`, at most `n_workers` at a time, and yield each with its end."""
    waiting = list(enumerate(variants))
    while waiting or len(pool):
        while waiting and len(pool) < n_workers:
            number, variant = waiting.pop(0)
            pool.start(number, _task(again, number, variant))
        for event in pool.events():
            if isinstance(event, FoldScored):
                pool.go_on(event.trial, None)
            else:
                yield variants[event.trial], event


def _task(again: StudyAgain, number: int, variant: Variant) -> TrialTask:
    """Return the task of a variant: its folds only, with checkpoints of its own."""
    task = task_again(again, variant.trial, variant.hyper, variant.seed)
    return replace(task, keeps_model=False, checkpoints=task.checkpoints.parent / f"variant-{number}")


def _record(warehouse: Warehouse, study: str, variant: Variant, ended: Ended, say: Say) -> bool:
    """Store how a variant ended, and return whether it completed."""
    result = ended.result
    row: Row = {
        "study": study,
        "trial": variant.trial,
        "kind": variant.kind,
        "variant": variant.name,
        "seed": variant.seed,
        "state": "complete" if result else "failed",
        "score": result.score if result else None,
        "fold_scores": list(result.fold_scores) if result else None,
        "equity_sha256": result.equity_sha256 if result else None,
        "collapsed": collapsed(ended.diary),
        "reason": ended.reason or None,
        "duration_s": ended.duration_s,
        "code_version": code_version(),
    }
    types = dict.fromkeys(("equity_sha256", "collapsed", "reason"), pl.String())
    frame = pl.DataFrame([row], schema_overrides={**types, "score": pl.Float64(), "fold_scores": pl.List(pl.Float64())})
    with warehouse.write() as writer:
        writer.upsert(TABLE, frame)
    outcome = f"score {result.score:+.3f}" if result else f"{ended.outcome}: {ended.reason}"
    what = f"seed {variant.name}" if variant.kind == "seed" else f"without {variant.name}"
    say(f"trial {variant.trial}, {what}: {outcome}")
    return result is not None
