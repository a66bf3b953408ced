"""What the agents of one training range see: scaled once for the whole study, mapped by every trial.

    <arrays>/scaled-<start>-<stop>-<known>/  features.npy  scaler.json

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

from cappuccino.env.market import MarketArrays
from cappuccino.features.scaler import Scaler, fit
from cappuccino.search.arrays import StudyArrays, read_arrays, save_array

_FEATURES = "features.npy"
_SCALER = "scaler.json"


def scaled_market(folder: Path, train_range: tuple[int, int], n_known: int) -> tuple[MarketArrays, Scaler]:
    """Return bars [0, n_known) of the study arrays in `folder`, scaled as fitted on `train_range`, and the scale.

    The arrays are maps of files: all processes share their pages. Raises DataError as `read_arrays` and `fit` do.
    """
    arrays = read_arrays(folder)
    place = folder / f"scaled-{train_range[0]}-{train_range[1]}-{n_known}"
    if not place.is_dir():
        _write(place, arrays, train_range, n_known)
    scaler = Scaler.from_dict(json.loads((place / _SCALER).read_text()))
    market = MarketArrays(
        arrays.panel.interval,
        features=_mapped(place / _FEATURES, n_known),
        open_usd=_mapped(folder / "open.npy", n_known),
        close_usd=_mapped(folder / "close.npy", n_known),
        opened_us=_mapped(folder / "opened_at.npy", n_known),
    )
    return market, scaler


def _write(place: Path, arrays: StudyArrays, train_range: tuple[int, int], n_known: int) -> None:
    scaler = fit(arrays.features[slice(*train_range)], arrays.spec.names, arrays.panel.symbols)
    partial = place.with_name(f".{place.name}.{os.getpid()}")
    partial.mkdir()
    try:
        save_array(partial / _FEATURES, scaler.transform(arrays.features[:n_known]))
        (partial / _SCALER).write_text(json.dumps(scaler.to_dict()))
        partial.rename(place)
    except OSError:
        shutil.rmtree(partial)
        if not place.is_dir():  # nobody was faster; the disk is full, say
            raise


def _mapped(file: Path, n_rows: int) -> torch.Tensor:
    """Return the first rows of `file`; private to write, as torch wants it, but nobody writes, so pages stay shared."""
    rows = np.load(file, mmap_mode="c")[:n_rows]
    return torch.from_numpy(rows.view(np.int64) if rows.dtype.kind == "M" else rows)
