"""One scale for all features, fitted on the training range and stored with the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cappuccino.errors import ArtifactError, DataError
from cappuccino.market.panel import FloatArray

CLIP = 10.0
"""Scaled values beyond this many standard deviations are cut off: one wild bar must not swamp a network."""
_MIN_STD = 1e-8


@dataclass(frozen=True, eq=False)
class Scaler:
    """Mean and standard deviation, (A, F) each, of every feature of every symbol.

    Raises ArtifactError when the shapes do not fit the names, or a number is not finite, or a deviation not
    positive.
    """

    mean: FloatArray
    std: FloatArray
    names: tuple[str, ...]
    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        shape = (len(self.symbols), len(self.names))
        for what, values in (("mean", self.mean), ("std", self.std)):
            if values.shape != shape:
                raise ArtifactError(f"scaler: {what} has shape {values.shape}, its names say {shape}; retrain")
            if not np.isfinite(values).all() or (what == "std" and (values <= 0).any()):
                raise ArtifactError(f"scaler: {what} holds numbers that cannot scale; restore it or retrain")

    def require(self, names: tuple[str, ...], symbols: tuple[str, ...]) -> None:
        """Raise ArtifactError unless the features to scale are those that were fitted, in the same order."""
        for what, fitted, found in (("features", self.names, names), ("symbols", self.symbols, symbols)):
            if fitted != found:
                raise ArtifactError(
                    f"scaler: the model was fitted on {what} {', '.join(fitted)}; found {', '.join(found)}; "
                    f"restore the configuration that it was trained with, or retrain"
                )

    def transform(self, values: FloatArray) -> npt.NDArray[np.float32]:
        """Return (values - mean) / std, cut off at +-CLIP; (..., A, F) -> the same, NaN stays NaN.

        Raises ArtifactError for another number of symbols or features; `require` compares their names.
        """
        if values.shape[-2:] != self.mean.shape:
            raise ArtifactError(
                f"scaler: fitted on {self.mean.shape} symbols x features, found {values.shape[-2:]}; retrain"
            )
        scaled = np.asarray(values - self.mean)
        scaled /= self.std  # in place: a hundred symbols take most of a gigabyte
        np.clip(scaled, -CLIP, CLIP, out=scaled)
        return scaled.astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists; through JSON and `from_dict` they come back bit for bit."""
        return {
            "names": list(self.names),
            "symbols": list(self.symbols),
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Scaler:
        """Return the scaler of `to_dict`; raises ArtifactError when something is missing or malformed."""
        try:
            mean, std = (np.array(stored[key], dtype=np.float64) for key in ("mean", "std"))
            names, symbols = (tuple(str(name) for name in stored[key]) for key in ("names", "symbols"))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"scaler: cannot be read ({error!r}); restore the model folder or retrain") from None
        return cls(mean, std, names, symbols)


def fit(values: FloatArray, names: tuple[str, ...], symbols: tuple[str, ...]) -> Scaler:
    """Return the scale of `values` (T, A, F), from the rows without NaN.

    A feature that never moves in training gets deviation 1, so that a later move is seen as it is and not
    blown up. Raises DataError when fewer than two rows are left.
    """
    is_complete = np.isfinite(values).all(axis=(1, 2))
    complete = values if is_complete.all() else values[is_complete]
    if len(complete) < 2:
        raise DataError(
            f"{len(complete)} of {len(values)} bars have all features, a scale needs 2; sync a longer range"
        )
    std = complete.std(axis=0)
    return Scaler(complete.mean(axis=0), np.where(std < _MIN_STD, 1.0, std), names, symbols)
