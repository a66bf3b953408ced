"""Which model: a study and a trial number, never a trial number alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cappuccino.errors import UnknownName

# A study is also a folder's name: no separators, nothing hidden, nothing that climbs out of the folder.
_STUDY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TRIAL = re.compile(r"0|[1-9][0-9]{0,8}")


@dataclass(frozen=True, order=True)
class ModelId:
    """Names a model everywhere; sorts by study, then trial, and reads `STUDY/TRIAL`.

    Raises UnknownName when the study is no plain name or the trial is negative.
    """

    study: str
    trial: int

    def __post_init__(self) -> None:
        if not _STUDY.fullmatch(self.study):
            raise UnknownName(
                f"study {self.study!r} is no name; use at most 100 letters, digits, dots, dashes, underscores"
            )
        if isinstance(self.trial, bool) or not isinstance(self.trial, int) or self.trial < 0:
            raise UnknownName(f"trial {self.trial!r} of study {self.study} is not a number from 0 on")

    def __str__(self) -> str:
        return f"{self.study}/{self.trial}"

    @classmethod
    def parse(cls, text: str) -> ModelId:
        """Return the model that `text` names; the reverse of `str`. Raises UnknownName otherwise."""
        study, _, trial = text.rpartition("/")
        if not _TRIAL.fullmatch(trial):
            raise UnknownName(f"{text!r} is not STUDY/TRIAL such as study-1/7")
        return cls(study, int(trial))
