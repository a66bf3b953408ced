"""Which settings of a replay are not the specification's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from cappuccino.settings import Settings

# What decides a replay's outcome. Ranges, folders and workers do not, and the page names source and range anyway.
_GROUPS = (
    "market",
    "simulated",
    "features",
    "costs",
    "risk",
    "timeframe",
    "training",
    "arena",
    "sandbox",
    "replay",
)
_ELSEWHERE = ("market.source", "market.path", "market.start", "market.end", "training.workers")


def choices(stored: Mapping[str, Any]) -> pl.DataFrame:
    """Return key, specified, in_use of every setting that differs from its default, in the order of the file.

    Unlike `settings.differences`, which tells what the profile changed, this also finds what a file, a variable or a
    flag did. `stored` is what `Settings.model_dump(mode="json")` gave; keys that only one side knows are left out.
    """
    specified = dict(_flat(Settings.model_construct().model_dump(mode="json")))
    rows = [
        (key, _shown(specified[key]), _shown(used))
        for key, used in _flat(stored)
        if key.split(".")[0] in _GROUPS and key not in _ELSEWHERE and key in specified and specified[key] != used
    ]
    return pl.DataFrame(rows, schema={"key": pl.String, "specified": pl.String, "in_use": pl.String}, orient="row")


def _flat(document: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(each) for each in value)
    return "none" if value is None else str(value)
