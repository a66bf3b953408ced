"""A stored study, planned again from what its row says, in a folder of its own: the original is not touched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import ValidationError

from cappuccino.errors import TrainingError, UnknownName
from cappuccino.registry.version import code_version, package_versions
from cappuccino.rl.hyper import Hyper
from cappuccino.search.coordinator import training_lock
from cappuccino.search.study import StudyPlan, plan_study
from cappuccino.search.tasks import task_of, write_study_arrays
from cappuccino.search.trial import TrialTask
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader, Warehouse

KINDS = ("training", "timeframe", "trees")
"""A study of trees works on the bars and folds of a training study of the same moment."""
_PREFIX = "again-"
Row = dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """What is not as it was when the study ran."""

    what: str
    """data, code or packages."""
    detail: str

    @property
    def is_final(self) -> bool:
        """Whether no force helps: other bars are another question, not another answer."""
        return self.what == "data"


@dataclass(frozen=True)
class StudyAgain:
    """A study of the warehouse, planned again."""

    row: Row
    """Its row of lab.studies."""
    plan: StudyPlan
    settings: Settings
    """As stored, over the folder that its files go to."""
    differences: tuple[Difference, ...]


def require_same(again: StudyAgain, *, force: bool) -> None:
    """Raise TrainingError naming every difference; `force` lets other code and packages pass, other data never."""
    hindrances = [one for one in again.differences if one.is_final or not force]
    if hindrances:
        may_force = "" if any(one.is_final for one in hindrances) else "; --force trains all the same"
        raise TrainingError(
            f"{again.plan.study} cannot be trained again as it was: {'; '.join(one.detail for one in hindrances)}"
            f"{may_force}"
        )


@contextmanager
def study_again(warehouse: Warehouse, home: Path, study: str, *, force: bool = False) -> Iterator[StudyAgain]:
    """Plan `study` again and write its arrays to a folder below the warehouse folder `home`, which goes at the end.

    Nothing else trains meanwhile: raises TrainingBusy when somebody does, UnknownName when there is no such study,
    TrainingError as `require_same` does and for settings of another version, DataError when bars or features are no
    longer there.
    """
    scratch = home / "scratch"
    with training_lock(home):
        for left_behind in scratch.glob(f"{_PREFIX}*/"):  # of one that was killed
            shutil.rmtree(left_behind)
        scratch.mkdir(exist_ok=True)
        with TemporaryDirectory(prefix=_PREFIX, dir=scratch) as place:
            with warehouse.read() as reader:
                again = plan_again(reader, study, Path(place))
            require_same(again, force=force)
            write_study_arrays(again.plan, again.settings)
            yield again


def plan_again(reader: Reader, study: str, folder: Path) -> StudyAgain:
    """Return `study` as its row and the warehouse make it today; raises as `study_again` does."""
    row = _study_row(reader, study)
    settings = _settings(row).model_copy(update={"warehouse": folder})
    planned = plan_study(reader, settings, "timeframe" if row["kind"] == "timeframe" else "training", row["as_of_utc"])
    differences = (*_other_data(row, planned), *_other_code(row), *_other_packages(row))
    return StudyAgain(row, replace(planned, study=study), settings, differences)


def ran_with(reader: Reader, trial: Row) -> Hyper:
    """Return the hyper-parameters of a trial's last attempt, which memory or divergence may have changed."""
    asked = Hyper.from_dict(json.loads(trial["parameters"]))
    last = reader.one(
        """
        select batch_size, learning_rate from lab.attempts
        where study = $study and trial = $trial order by attempt desc limit 1
        """,
        study=trial["study"],
        trial=trial["trial"],
    )
    if last is None:
        return asked
    return replace(asked, batch_size=int(last[0]), learning_rate=asked.learning_rate if last[1] is None else last[1])


def trial_row(reader: Reader, study: str, trial: int) -> Row:
    """Return the row of a completed trial; raises UnknownName when there is none, TrainingError before its end."""
    rows = reader.query("from lab.trials where study = $study and trial = $trial", study=study, trial=trial)
    if rows.is_empty():
        raise UnknownName(f'no trial {study}/{trial}; `cappuccino sql "from lab.trials"` lists them')
    row = rows.row(0, named=True)
    if row["state"] != "complete":
        why = f" ({row['reason']})" if row["reason"] else ""
        raise TrainingError(
            f"trial {study}/{trial} is {row['state']}{why}; only a complete one has something to compare"
        )
    return row


def task_again(again: StudyAgain, trial: int, hyper: Hyper, seed: int) -> TrialTask:
    """Return what the process of a trial needs to run again with `hyper` and `seed`."""
    return replace(task_of(again.plan, again.settings, trial, hyper), seed=seed)


def _study_row(reader: Reader, study: str) -> Row:
    rows = reader.query("from lab.studies where study = $study", study=study)
    if rows.is_empty():
        known = reader.query("select study from lab.studies order by as_of_utc desc limit 5")["study"]
        raise UnknownName(f"no study {study!r}; there are {', '.join(known) or 'none yet'}")
    row = rows.row(0, named=True)
    if row["kind"] not in KINDS:
        raise TrainingError(f"{study} is a study of {row['kind']}; such cannot be trained again")
    return row


def _settings(row: Row) -> Settings:
    try:
        return Settings.stored(json.loads(row["settings"]))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise TrainingError(
            f"the settings of {row['study']} are those of another version ({wrong}); use {row['code_version']}"
        ) from None


def _other_data(row: Row, planned: StudyPlan) -> Iterator[Difference]:
    if row["interval"] is not None:
        pair, stored = planned.pairs[0], (row["interval"], row["lookback"])
        if (pair.interval.value, pair.lookback) != stored:
            found = f"{pair.interval} x {pair.lookback}"
            yield Difference(
                "data", f"the timeframe was {stored[0]} x {stored[1]}, lab.timeframe_choices now says {found}"
            )
            return
    if row["bars_fingerprint"] not in (None, planned.bars_fingerprint):
        yield Difference(
            "data",
            f"the stored bars from {row['bars_from_utc']:%F %R} to {row['train_end_utc']:%F %R} UTC have changed since "
            f"(fingerprint {row['bars_fingerprint'][:12]}, now {planned.bars_fingerprint[:12]}): a sync corrected, "
            "added or removed some",
        )
    elif row["data_fingerprint"] != planned.fingerprint:
        yield Difference(
            "data",
            f"the bars are the same but what is computed from them is not (fingerprint {row['data_fingerprint'][:12]}, "
            f"now {planned.fingerprint[:12]}): features come from other code or packages, or other inputs",
        )


def _other_code(row: Row) -> Iterator[Difference]:
    if row["code_version"] != code_version():
        yield Difference(
            "code",
            f"it ran with code {row['code_version']}, this is {code_version()}: equal results prove that the change is "
            "of no matter, different ones prove nothing",
        )


def _other_packages(row: Row) -> Iterator[Difference]:
    stored: dict[str, str] = json.loads(row["packages"] or "{}")
    found = package_versions()
    if not stored:
        yield Difference("packages", "its row does not say with which packages it ran")
        return
    changed = [
        f"{name} {stored.get(name, 'none')}, now {found.get(name, 'none')}"
        for name in sorted(stored | found)
        if stored.get(name) != found.get(name)
    ]
    if changed:
        yield Difference("packages", f"other packages round differently: {'; '.join(changed)}")
