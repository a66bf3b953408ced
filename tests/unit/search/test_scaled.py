"""What agents see, stored once for all trials of a study."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from cappuccino.env.market import MarketArrays, market_arrays
from cappuccino.features.scaler import fit
from cappuccino.search.arrays import StudyArrays, write_arrays
from cappuccino.search.scaled import scaled_market
from tests.unit.search.test_arrays import SPEC, arrays

TRAIN = ((2, 30),)


@pytest.fixture
def stored(tmp_path: Path) -> StudyArrays:
    found = arrays(60)
    write_arrays(tmp_path, found)
    return found


def tensors(market: MarketArrays) -> Iterator[torch.Tensor]:
    yield from (market.features, market.open_usd, market.close_usd, market.opened_us)


def test_the_market_is_bit_for_bit_what_a_trial_would_make_itself(tmp_path: Path, stored: StudyArrays) -> None:
    scaler = fit(stored.features[2:30], SPEC.names, stored.panel.symbols)
    own = market_arrays(stored.panel, scaler.transform(stored.features))
    for _ in range(2):  # written, then read
        market, found = scaled_market(tmp_path, TRAIN)
        assert market.interval == own.interval
        for ours, theirs in zip(tensors(market), tensors(own), strict=True):
            assert ours.dtype == theirs.dtype and torch.equal(ours, theirs)
        assert found.to_dict() == scaler.to_dict()
        np.testing.assert_array_equal(found.mean, scaler.mean)


def test_each_range_has_a_scale_of_its_own_and_knows_nothing_later(tmp_path: Path, stored: StudyArrays) -> None:
    (first, _), (second, _) = scaled_market(tmp_path, TRAIN), scaled_market(tmp_path, ((0, 20),))
    assert not torch.equal(first.features, second.features)
    later = stored.features.copy()
    later[30:] *= 9
    write_arrays(tmp_path / "other", StudyArrays(stored.panel, later, SPEC))
    assert torch.equal(scaled_market(tmp_path / "other", TRAIN)[0].features[:30], first.features[:30])


def test_segments_are_scaled_as_one_and_what_lies_between_is_not_looked_at(tmp_path: Path, stored: StudyArrays) -> None:
    _, found = scaled_market(tmp_path, ((2, 20), (40, 55)))
    seen = np.concatenate([stored.features[2:20], stored.features[40:55]])
    np.testing.assert_array_equal(found.mean, fit(seen, SPEC.names, stored.panel.symbols).mean)


def test_it_is_written_once_and_then_only_mapped(tmp_path: Path, stored: StudyArrays) -> None:
    scaled_market(tmp_path, TRAIN)
    (file,) = tmp_path.glob("scaled-*/features.npy")
    stored_at_ns = file.stat().st_mtime_ns
    market, _ = scaled_market(tmp_path, TRAIN)
    assert file.stat().st_mtime_ns == stored_at_ns
    # A map sees what the file holds at this moment; a copy would not.
    content = np.load(file, mmap_mode="r+")
    content[0, 0, 0] = 7.0
    assert float(market.features[0, 0, 0]) == 7.0


def test_what_a_trial_writes_stays_its_own(tmp_path: Path, stored: StudyArrays) -> None:
    market, _ = scaled_market(tmp_path, TRAIN)
    before = float(market.close_usd[0, 0])
    market.close_usd[0, 0] = -1.0
    assert float(scaled_market(tmp_path, TRAIN)[0].close_usd[0, 0]) == before


def test_half_of_one_is_never_there(tmp_path: Path, stored: StudyArrays) -> None:
    place = tmp_path / "scaled-2-30"
    place.write_text("in the way")
    with pytest.raises(NotADirectoryError):
        scaled_market(tmp_path, TRAIN)
    assert not list(tmp_path.glob(".scaled*"))
    place.unlink()
    scaled_market(tmp_path, TRAIN)
    assert sorted(file.name for file in place.iterdir()) == ["features.npy", "scaler.json"]
    assert set(json.loads((place / "scaler.json").read_text())) == {"names", "symbols", "mean", "std"}
