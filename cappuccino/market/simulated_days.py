"""The slow part of the simulated market: how each day ends, how nervous it is, and which days jump.

A symbol's log price moves by beta times the market's return plus a return of its own. Market and own part are
made alike: a Markov chain of regimes sets drift and volatility for weeks, an AR(1) process of log-volatility
makes calm and nervous days cluster, and on some days a Poisson process adds jumps. All is drawn from streams
that belong to (seed, name) alone, one row a day from EPOCH on, so that a longer path begins with the shorter
one, bit by bit.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from cappuccino.market.panel import FloatArray

IntArray = npt.NDArray[np.int64]

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
"""The first bar that the simulated market has."""

MARKET_VOLATILITY = 0.024
"""Typical standard deviation of the market's return in a day."""

# Drift in units of a day's volatility, volatility in units of the typical one, mean length in days. Weeks are
# long enough for momentum to notice, and the drifts cancel on average: nobody earns by just being there.
REGIMES = {
    "bull": (0.25, 0.9, 32.0),
    "bear": (-0.25, 1.1, 28.0),
    "calm": (0.0, 0.6, 24.0),
    "turbulent": (-0.03, 1.6, 12.0),
}
LOG_VOLATILITY_MEMORY = 0.96
LOG_VOLATILITY_SPREAD = 0.30
JUMPS_PER_DAY = 0.02
JUMP_SIZE = 1.5
"""Standard deviation of a jump, in units of the typical daily volatility."""
PULL_PER_DAY = 0.001
"""Share of the distance to the first price that a day takes back: about two years to halve it. Too weak to
trade on, and enough to keep an endless path between dust and infinity."""

START_PRICES_USD = {
    "BTC": 60_000.0,
    "ETH": 2_500.0,
    "LTC": 85.0,
    "BCH": 380.0,
    "LINK": 14.0,
    "UNI": 8.0,
    "AAVE": 150.0,
    "SOL": 140.0,
    "AVAX": 25.0,
}


@dataclass(frozen=True)
class Character:
    """What makes a symbol itself; drawn from its name."""

    beta: float
    own_volatility: float
    """Standard deviation of the daily return that it does not share with the market."""
    start_price_usd: float
    daily_volume_usd: float

    @property
    def volatility(self) -> float:
        """Typical standard deviation of a day's return."""
        return math.hypot(self.beta * MARKET_VOLATILITY, self.own_volatility)


@dataclass(frozen=True)
class Days:
    """One component of returns, a row per day since EPOCH; all arrays (D,)."""

    smooth: FloatArray
    """Log return of the day without jumps."""
    volatility: FloatArray
    """Standard deviation that `smooth` was drawn with."""
    jump: FloatArray
    """Log return of the day's jumps; mostly 0."""
    jump_minute: IntArray
    """Minute of the day at which they happen."""


@dataclass(frozen=True)
class SymbolPath:
    """A symbol's days since EPOCH."""

    symbol: str
    traits: Character
    own: Days
    midnights: FloatArray
    """(D + 1,) log prices; day d goes from row d to row d + 1."""


def stream(seed: int, name: str, purpose: str, day: int = 0) -> np.random.Generator:
    """Return the random numbers that belong to (seed, name, purpose, day) and to nothing else."""
    digest = hashlib.blake2b(f"{seed}\n{name}\n{purpose}".encode(), digest_size=16).digest()
    key = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, 0, day], dtype=np.uint64)))


def character(seed: int, symbol: str) -> Character:
    """Return the character of any symbol; bitcoin is the calm one, as in life."""
    u = stream(seed, symbol, "character").random(4)
    base = symbol.partition("/")[0]
    price = START_PRICES_USD.get(base, 10.0 ** (-1 + 3 * u[2]))
    if base == "BTC":
        return Character(0.9, 0.010 + 0.004 * u[1], price, 2e9)
    return Character(0.9 + 0.4 * u[0], 0.018 + 0.014 * u[1], price, 10.0 ** (7 + 1.5 * u[3]))


def market_days(seed: int, n_days: int) -> Days:
    """Return the component that all symbols share, for `n_days` from EPOCH on."""
    return _days(seed, "", "market", n_days, MARKET_VOLATILITY)


def symbol_path(seed: int, symbol: str, market: Days) -> SymbolPath:
    """Return the path of `symbol` over the days of `market`."""
    traits = character(seed, symbol)
    own = _days(seed, symbol, "own", len(market.smooth), traits.own_volatility)
    return SymbolPath(symbol, traits, own, _midnights(traits, market, own))


def _midnights(traits: Character, market: Days, own: Days) -> FloatArray:
    """Return the log price at each midnight, (D + 1,).

    l[d+1] = l[d] + beta (m[d] + jump_m[d]) + own[d] + jump_own[d] - pull (l[d] - l[0])
    """
    moves = traits.beta * (market.smooth + market.jump) + own.smooth + own.jump
    path = np.empty(len(moves) + 1)
    path[0] = first = level = math.log(traits.start_price_usd)
    for d, move in enumerate(moves.tolist(), start=1):
        level += move - PULL_PER_DAY * (level - first)
        path[d] = level
    return path


def _days(seed: int, name: str, kind: str, n_days: int, typical: float) -> Days:
    normal = stream(seed, name, f"{kind} normal").standard_normal((n_days, 3))
    uniform = stream(seed, name, f"{kind} uniform").random((n_days, 3))
    drift, volatility = _regimes(uniform[:, 0])
    sigma = typical * volatility * _nervousness(normal[:, 0])
    happens = uniform[:, 1] > math.exp(-JUMPS_PER_DAY)  # at least one event of the Poisson process
    return Days(
        smooth=sigma * (drift + normal[:, 1]),
        volatility=sigma,
        jump=np.where(happens, typical * JUMP_SIZE * normal[:, 2], 0.0),
        jump_minute=(uniform[:, 2] * 1440).astype(np.int64),
    )


def _regimes(uniform: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return drift and volatility of each day's regime, both (D,): stay with 1 - 1/length, else any other."""
    table = np.array(list(REGIMES.values()))
    n = len(table)
    leave = 1 / table[:, 2]
    chances = np.where(np.eye(n, dtype=bool), 1 - leave[:, None], leave[:, None] / (n - 1))
    steps = np.cumsum(chances, axis=1)
    states = np.empty(len(uniform), dtype=np.int64)
    state = n - 2  # begins calm
    for d, u in enumerate(uniform.tolist()):
        state = min(int(np.searchsorted(steps[state], u, side="right")), n - 1)
        states[d] = state
    return table[states, 0], table[states, 1]


def _nervousness(shocks: FloatArray) -> FloatArray:
    """Return the volatility factor of each day, (D,): exp(x) of an AR(1) x, scaled to a mean square of 1."""
    memory, spread = LOG_VOLATILITY_MEMORY, LOG_VOLATILITY_SPREAD
    step = spread * math.sqrt(1 - memory**2)
    levels, x = np.empty(len(shocks)), 0.0
    for d, shock in enumerate(shocks.tolist()):
        x = memory * x + step * shock
        levels[d] = x
    return np.exp(levels - spread**2)
