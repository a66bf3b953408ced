"""Train a stored trial once more and compare it with what was stored, bit by bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import polars as pl
import torch

from cappuccino.registry.identity import ModelId
from cappuccino.registry.version import code_version
from cappuccino.search.again import Difference, Row, StudyAgain, ran_with, study_again, task_again, trial_row
from cappuccino.search.diary import Diary
from cappuccino.search.outcome import Report
from cappuccino.search.tasks import trial_seed
from cappuccino.search.trial import run_trial
from cappuccino.search.trial_result import TrialResult
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse, Writer

TABLE = "lab.reproductions"
Say = Callable[[str], None]
Run = Callable[[Report, Diary], TrialResult]


@dataclass(frozen=True)
class Compared:
    """One figure, as it was stored and as it came out now."""

    what: str
    stored: str
    found: str

    @property
    def is_equal(self) -> bool:
        return self.stored == self.found


@dataclass(frozen=True)
class Reproduction:
    """A trial beside itself."""

    model: ModelId
    compared: tuple[Compared, ...]
    notes: tuple[str, ...]
    """What was not as it had been, though it was trained all the same."""
    device: str
    duration_s: float

    @property
    def is_equal(self) -> bool:
        return all(one.is_equal for one in self.compared)


def reproduce(
    warehouse: Warehouse, settings: Settings, model: ModelId, now: datetime, say: Say, *, force: bool = False
) -> Reproduction:
    """Return how `model` comes out when it is trained again, and store it in lab.reproductions.

    A network or trees; its own hyper-parameters and seed, those that it really ran with; its own settings, from its
    study's row; nothing of the original is written to. Raises UnknownName and TrainingError for a trial that cannot be
    compared, and as `again.study_again` does.
    """
    with warehouse.read() as reader:
        row = trial_row(reader, model.study, model.trial)
    with study_again(warehouse, settings.warehouse, model.study, force=force) as again:
        device, run = _trees(again, row) if again.row["kind"] == "trees" else _network(again, row, warehouse)
        say(f"{model}: {len(row['fold_scores'])} folds on {device}")
        result = _on_one_thread(run, say)
        notes = (*_notes(again.differences), *_other_seed(again, row))
    made = Reproduction(model, _compared(row, result), notes, device, result.duration_s)
    with warehouse.write() as writer:
        _store(writer, made, now)
    return made


def _network(again: StudyAgain, row: Row, warehouse: Warehouse) -> tuple[str, Run]:
    """Return where a trial of a network runs, and what runs it."""
    with warehouse.read() as reader:
        hyper = ran_with(reader, row)
    task = task_again(again, row["trial"], hyper, row["seed"])
    return f"{task.compute.device} {task.compute.precision}", partial(run_trial, task)


def _trees(again: StudyAgain, row: Row) -> tuple[str, Run]:
    """Return the same of a trial of trees, which no attempt changes the parameters of."""
    # lightgbm takes its time to load, and most trials are networks.
    from cappuccino.trees.hyper import TreeHyper
    from cappuccino.trees.plan import task_of
    from cappuccino.trees.trial import run_tree_trial

    task = task_of(again.plan, again.settings, row["trial"], TreeHyper.from_dict(json.loads(row["parameters"])))
    return "cpu", partial(run_tree_trial, replace(task, seed=row["seed"]))


def _on_one_thread(run: Run, say: Say) -> TrialResult:
    """Run the trial, on one thread as all trials do, and give the threads back."""
    n_threads = torch.get_num_threads()
    try:
        return run(lambda fold, score: say(f"fold {fold}: score {score:+.3f}"), [])
    finally:
        torch.set_num_threads(n_threads)


def _compared(row: Row, result: TrialResult) -> tuple[Compared, ...]:
    """Return every figure of the trial that was stored, floats to the last bit."""
    found: dict[str, Any] = {
        "weight_sha256": result.weight_sha256,
        "equity_sha256": result.equity_sha256,
        "score": result.score,
        **{f"fold {k} score": score for k, score in enumerate(result.fold_scores)},
    }
    stored: dict[str, Any] = {
        "weight_sha256": row["weight_sha256"],
        "equity_sha256": row["equity_sha256"],
        "score": row["score"],
        **{f"fold {k} score": score for k, score in enumerate(row["fold_scores"])},
    }
    # A search of timeframes keeps no weights, and older rows have no hash of their equity.
    names = [name for name in stored | found if stored.get(name) is not None]
    return tuple(Compared(name, str(stored[name]), str(found.get(name))) for name in names)


def _notes(differences: tuple[Difference, ...]) -> tuple[str, ...]:
    return tuple(one.detail for one in differences)


def _other_seed(again: StudyAgain, row: Row) -> tuple[str, ...]:
    planned = trial_seed(again.plan, again.settings, row["trial"])
    if planned == row["seed"]:
        return ()
    return (f"its row has seed {row['seed']}, its study gives {planned} to this trial: the row was changed",)


def _store(writer: Writer, made: Reproduction, now: datetime) -> None:
    """Append one row to lab.reproductions, under the trial's next number."""
    model = made.model
    done = writer.one(
        "select max(reproduction) from lab.reproductions where study = $study and trial = $trial",
        study=model.study,
        trial=model.trial,
    )
    figures = {one.what: one for one in made.compared}
    weights, equity = (figures.get(name) for name in ("weight_sha256", "equity_sha256"))
    row = {
        "study": model.study,
        "trial": model.trial,
        "reproduction": 1 + (done[0] or 0 if done else 0),
        "reproduced_at_utc": now,
        "is_equal": made.is_equal,
        "different": [one.what for one in made.compared if not one.is_equal],
        "weight_sha256": weights and weights.found,
        "equity_sha256": equity and equity.found,
        "notes": "; ".join(made.notes) or None,
        "device": made.device,
        "code_version": code_version(),
        "duration_s": made.duration_s,
    }
    types = {
        "reproduced_at_utc": pl.Datetime("us", "UTC"),
        "different": pl.List(pl.String()),
        "weight_sha256": pl.String(),
        "equity_sha256": pl.String(),
        "notes": pl.String(),
    }
    writer.append(TABLE, pl.DataFrame([row], schema_overrides=types))
