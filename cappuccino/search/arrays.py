"""A study's bars and features as files that every trial maps into memory instead of receiving a copy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cappuccino.errors import DataError
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.interval import Interval
from cappuccino.market.panel import PRICE_COLUMNS, BarPanel, FloatArray

_ARRAYS = ("opened_at", *PRICE_COLUMNS, "is_filled", "features")
_DESCRIPTION = "arrays.json"


@dataclass(frozen=True)
class StudyArrays:
    """T bars of A symbols and what they look like to an agent."""

    panel: BarPanel
    features: FloatArray
    """(T, A, F) unscaled; NaN where an indicator lacks history."""
    spec: FeatureSpec


def write_arrays(folder: Path, arrays: StudyArrays) -> None:
    """Store `arrays` in `folder`, for `read_arrays`; raises DataError when features do not fit the bars."""
    panel, names = arrays.panel, arrays.spec.names
    expected = (*panel.close.shape, len(names))
    if arrays.features.shape != expected:
        raise DataError(
            f"features of shape {arrays.features.shape}, expected {expected} for {len(panel)} bars of "
            f"{len(panel.symbols)} symbols with {len(names)} features; build them from these bars"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in _ARRAYS:
        save_array(folder / f"{name}.npy", arrays.features if name == "features" else getattr(panel, name))
    description = {
        "interval": panel.interval.value,
        "symbols": panel.symbols,
        **arrays.spec.to_dict(),
    }
    # Last, and in one move: a folder with a description is complete.
    partial = folder / f".{_DESCRIPTION}.saving"
    partial.write_text(json.dumps(description))
    partial.replace(folder / _DESCRIPTION)


def save_array(file: Path, values: npt.NDArray[Any]) -> None:
    """Store `values` for `np.load`; unlike np.save, a full disk is an error that says so."""
    rows = np.ascontiguousarray(values)
    with file.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(rows))
        stream.write(rows.reshape(-1).view(np.uint8).data)


def read_arrays(folder: Path) -> StudyArrays:
    """Return what `write_arrays` stored, mapped read-only; raises DataError when it is not all there."""
    try:
        description = json.loads((folder / _DESCRIPTION).read_text())
        columns = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    except FileNotFoundError as error:
        raise DataError(f"study arrays {folder} lack {error.filename}; start the study again") from None
    features = columns.pop("features")
    panel = BarPanel(Interval(description["interval"]), tuple(description["symbols"]), **columns)
    spec = FeatureSpec.from_dict(description)
    return StudyArrays(panel, features, spec)
