"""The fast part of the simulated market: the minutes inside days whose ends are known.

Within a day the log price is a bridge. With w the share of each minute in the day's variance V (more when
America trades, and clustered), e fat-tailed noise with variance V w, and R the day's return,

    r = e + w (R - sum(e))

sums to R, and since R has variance V too, minutes have variance V w and are not correlated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cappuccino.market.panel import FloatArray
from cappuccino.market.simulated_days import Character, Days, SymbolPath, stream

MINUTES = 1440
FREEDOM = 4.0
"""Degrees of freedom of the minutes' Student-t noise."""
CLUSTERING = 0.5
"""Standard deviation of the log of an hour's activity."""

_MINUTE = np.arange(MINUTES)
_HOUR = _MINUTE // 60
_INTO_HOUR = (_MINUTE % 60) / 60
_TIME_OF_DAY = 1 + 0.4 * np.cos(2 * np.pi * (_MINUTE / MINUTES - 15 / 24))
_ELAPSED = (_MINUTE + 1) / MINUTES
SIGNIFICANT_DIGITS = 7
LOT_USD = 0.01


@dataclass(frozen=True)
class Bridge:
    """Minutes of one component for some days; arrays (D, 1440)."""

    returns: FloatArray
    """Log returns, jumps included."""
    variance: FloatArray
    """Variance that each minute was drawn with, without jumps."""


@dataclass(frozen=True)
class Bars:
    """Consecutive bars of one symbol, in time order; arrays (n,)."""

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray


def bridge(seed: int, name: str, days: Days, first: int, stop: int) -> Bridge:
    """Return the minutes of days [first, stop) of one component."""
    noise, activity = np.empty((stop - first, MINUTES)), np.empty((stop - first, 25))
    for row, day in enumerate(range(first, stop)):
        rng = stream(seed, name, "minutes", day)
        activity[row] = rng.standard_normal(25)
        noise[row] = rng.standard_t(FREEDOM, MINUTES)
    w = _variance_shares(activity)
    variance = days.volatility[first:stop, None] ** 2 * w
    e = noise * np.sqrt(variance * ((FREEDOM - 2) / FREEDOM))
    r = e + w * (days.smooth[first:stop, None] - e.sum(axis=1, keepdims=True))
    r[np.arange(stop - first), days.jump_minute[first:stop]] += days.jump[first:stop]
    return Bridge(r, variance)


def bars(seed: int, path: SymbolPath, market: Bridge, own: Bridge, first: int, minutes_per_bar: int) -> Bars:
    """Return the bars of the days that `market` and `own` cover, of which `first` is the first."""
    n_days = len(own.returns)
    midnights = path.midnights[first : first + n_days + 1, None]
    open_, close = _walk(midnights, path.traits.beta * market.returns + own.returns)
    variance = path.traits.beta**2 * market.variance + own.variance
    chance = _chance(seed, path.symbol, first, n_days)
    high, low = _extremes(open_, close, variance, chance)
    lots = _lots(path.traits, np.exp(midnights[:-1]), np.abs(close - open_), variance, chance[2])
    shape = (-1, minutes_per_bar)
    return Bars(
        open=_price(open_.reshape(shape)[:, 0]),
        high=_price(high.reshape(shape).max(axis=1)),
        low=_price(low.reshape(shape).min(axis=1)),
        close=_price(close.reshape(shape)[:, -1]),
        volume=lots.reshape(shape).sum(axis=1) * _lot_size_units(path.traits),
    )


def _walk(midnights: FloatArray, returns: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return log opens and closes, (D, 1440), that lead from midnight to midnight exactly.

    The pull towards the first price is in the midnights and not in the returns; a minute's share of it is far
    below a tick.
    """
    close = midnights[:-1] + np.cumsum(returns, axis=1)
    close += (midnights[1:] - close[:, -1:]) * _ELAPSED
    close[:, -1:] = midnights[1:]
    return np.concatenate([midnights[:-1], close[:, :-1]], axis=1), close


def _extremes(
    open_: FloatArray, close: FloatArray, variance: FloatArray, chance: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return log highs and lows, as a Brownian path between open and close would have them.

    With x = close - open and E a standard exponential, its maximum is (x + sqrt(x^2 + 2 variance E)) / 2.
    """
    x = close - open_
    rise = (x + np.sqrt(x * x + 2 * variance * chance[0])) / 2
    fall = (x - np.sqrt(x * x + 2 * variance * chance[1])) / 2
    high = np.maximum(open_ + rise, np.maximum(open_, close))  # sqrt(x * x) may round to less than |x|
    return high, np.minimum(open_ + fall, np.minimum(open_, close))


def _variance_shares(activity: FloatArray) -> FloatArray:
    """Return each minute's share of the day's variance, (D, 1440), from normals at full hours, (D, 25)."""
    level = activity[:, _HOUR] * (1 - _INTO_HOUR) + activity[:, _HOUR + 1] * _INTO_HOUR
    shares = _TIME_OF_DAY * np.exp(2 * CLUSTERING * level)
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def _chance(seed: int, symbol: str, first: int, n_days: int) -> FloatArray:
    """Return standard exponentials, (3, D, 1440), for the highs, the lows and the volumes of a symbol."""
    drawn = np.empty((3, n_days, MINUTES))
    for row in range(n_days):
        drawn[:, row] = stream(seed, symbol, "extremes", first + row).standard_exponential((3, MINUTES))
    return drawn


def _lots(
    traits: Character, price_usd: FloatArray, move: FloatArray, variance: FloatArray, chance: FloatArray
) -> FloatArray:
    """Return whole lots that changed hands in each minute: more when volatile, more when the price moved."""
    typical = traits.volatility / np.sqrt(MINUTES)
    usd = traits.daily_volume_usd / MINUTES * (0.4 * np.sqrt(variance) + move) / typical
    lots: FloatArray = np.ceil(usd * (0.5 + chance) / (price_usd * _lot_size_units(traits)))
    return lots


def _lot_size_units(traits: Character) -> float:
    """Return about a cent's worth as a power of two: sums of such lots are exact, in whatever order."""
    return float(2.0 ** np.floor(np.log2(LOT_USD / traits.start_price_usd)))


def _price(log_price: FloatArray) -> FloatArray:
    """Return prices with 7 significant digits. Rounding keeps low <= open, close <= high."""
    price = np.exp(log_price)
    decimals = np.clip(SIGNIFICANT_DIGITS - 1 - np.floor(np.log10(price)), 0, 15)
    scale = 10.0**decimals
    rounded: FloatArray = np.round(price * scale) / scale
    return rounded
