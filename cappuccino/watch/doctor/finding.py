"""One thing that the doctor looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """What was found about `subject`; `advice` says what to do, and is empty only when all is well."""

    subject: str
    status: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""

    def __post_init__(self) -> None:
        if self.status != "ok" and not self.advice:
            raise ValueError(f"finding {self.subject!r} is {self.status} and gives no advice")


def ok(subject: str, found: str) -> Finding:
    return Finding(subject, "ok", found)


def warn(subject: str, found: str, advice: str) -> Finding:
    return Finding(subject, "warn", found, advice)


def fail(subject: str, found: str, advice: str) -> Finding:
    return Finding(subject, "fail", found, advice)
