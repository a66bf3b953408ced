"""Arrays of a study, written once and mapped by every trial."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from cappuccino.errors import DataError
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel
from cappuccino.search.arrays import StudyArrays, read_arrays, write_arrays

SPEC = FeatureSpec(("rsi_14",), ("roc_12",))


def arrays(n_bars: int = 5) -> StudyArrays:
    rng = np.random.default_rng(0)
    opened_at = np.datetime64("2024-03-01", "us") + np.arange(n_bars) * np.timedelta64(4, "h")
    columns = [rng.random((n_bars, 2)) for _ in range(5)]
    panel = BarPanel(Interval.H4, ("A/USD", "B/USD"), opened_at, *columns, is_filled=columns[0] > 0.5)
    return StudyArrays(panel, rng.random((n_bars, 2, len(SPEC.names))), SPEC)


def test_arrays_come_back_bit_for_bit_and_read_only(tmp_path: Path) -> None:
    stored = arrays()
    write_arrays(tmp_path / "study", stored)
    found = read_arrays(tmp_path / "study")
    assert found.spec == SPEC
    np.testing.assert_array_equal(found.features, stored.features)
    for field in fields(BarPanel):
        np.testing.assert_array_equal(getattr(found.panel, field.name), getattr(stored.panel, field.name))
    with pytest.raises(ValueError, match="read-only"):
        found.panel.close[0, 0] = 1.0


def test_features_of_other_bars_are_refused(tmp_path: Path) -> None:
    stored = arrays()
    with pytest.raises(DataError, match="expected"):
        write_arrays(tmp_path, StudyArrays(stored.panel, stored.features[1:], SPEC))


def test_an_incomplete_folder_is_refused(tmp_path: Path) -> None:
    write_arrays(tmp_path, arrays())
    (tmp_path / "close.npy").unlink()
    with pytest.raises(DataError, match=r"lack .*close\.npy"):
        read_arrays(tmp_path)
