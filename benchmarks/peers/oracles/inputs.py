"""What the oracles were asked about; whole numbers scaled, so that every machine has the same bits."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

SEED = 20_261_121
BARS_PER_DAY = {"1h": 24, "4h": 6, "1d": 1}
N_DAYS = {"1h": 45, "4h": 120, "1d": 401}
N_STUDY_DAYS, N_TRIALS = 256, 12


def returns_of(interval: str) -> tuple[FloatArray, FloatArray]:
    """Return per-bar returns of an account and of its benchmark, (T,) each, with a few bars of standing still."""
    rng = np.random.default_rng([SEED, BARS_PER_DAY[interval]])
    n_bars = N_DAYS[interval] * BARS_PER_DAY[interval]
    account, benchmark = rng.integers(-30_000, 31_500, size=(2, n_bars)) / 1e6
    account[rng.integers(0, n_bars, size=n_bars // 20)] = 0.0
    return account, benchmark


def study() -> FloatArray:
    """Return daily returns (T, N) of trials of which each is a little better than the one before."""
    rng = np.random.default_rng([SEED, 0])
    noise = rng.integers(-20_000, 20_001, size=(N_STUDY_DAYS, N_TRIALS)) / 1e6
    return noise + np.arange(N_TRIALS) / 1e4


def closes_usd() -> FloatArray:
    """Return closes (T,) that the trades are made at."""
    rng = np.random.default_rng([SEED, 99])
    return 100.0 + np.cumsum(rng.integers(-1_000, 1_001, size=120)) / 1e3


def digest(*arrays: FloatArray) -> str:
    """Return the hash of all bits."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()
