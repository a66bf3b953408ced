"""What the agents of one training range see: scaled once for the whole study, mapped by every trial.

    <arrays>/scaled-<start>-<stop>[+<start>-<stop>...]/  features.npy  scaler.json

Whoever needs such a folder first writes it, as a rule the coordinator. It appears in one move, and equal ranges give
equal bits, so that two who write it at once do no harm.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import torch

from cappuccino.env.environment import Segments
from cappuccino.env.market import MarketArrays
from cappuccino.features.scaler import Scaler, fit
from cappuccino.search.arrays import StudyArrays, read_arrays, save_array

_FEATURES = "features.npy"
_SCALER = "scaler.json"


def scaled_market(folder: Path, segments: Segments) -> tuple[MarketArrays, Scaler]:
    """Return the bars of the study arrays in `folder`, scaled as fitted on the `segments` of a training, and the scale.

    The arrays are maps of files: all processes share their pages. Raises DataError as `read_arrays` and `fit` do.
    """
    arrays = read_arrays(folder)
    place = folder / ("scaled-" + "+".join(f"{start}-{stop}" for start, stop in segments))
    if not place.is_dir():
        _write(place, arrays, segments)
    scaler = Scaler.from_dict(json.loads((place / _SCALER).read_text()))
    market = MarketArrays(
        arrays.panel.interval,
        features=_mapped(place / _FEATURES),
        open_usd=_mapped(folder / "open.npy"),
        close_usd=_mapped(folder / "close.npy"),
        opened_us=_mapped(folder / "opened_at.npy"),
        volume=_mapped(folder / "volume.npy"),
        symbols=arrays.panel.symbols,
    )
    return market, scaler


def _write(place: Path, arrays: StudyArrays, segments: Segments) -> None:
    parts = [arrays.features[slice(*segment)] for segment in segments]
    seen = parts[0] if len(parts) == 1 else np.concatenate(parts)  # many symbols are gigabytes: no copy without need
    scaler = fit(seen, arrays.spec.names, arrays.panel.symbols)
    partial = place.with_name(f".{place.name}.{os.getpid()}")
    partial.mkdir()
    try:
        save_array(partial / _FEATURES, scaler.transform(arrays.features))
        (partial / _SCALER).write_text(json.dumps(scaler.to_dict()))
        partial.rename(place)
    except OSError:
        shutil.rmtree(partial)
        if not place.is_dir():  # nobody was faster; the disk is full, say
            raise


def _mapped(file: Path) -> torch.Tensor:
    """Return the rows of `file`; private to write, as torch wants it, but nobody writes, so pages stay shared."""
    rows = np.load(file, mmap_mode="c")
    return torch.from_numpy(rows.view(np.int64) if rows.dtype.kind == "M" else rows)
