"""Any indicator of the pandas-ta catalogue by name, made free of units.

An indicator in the units of price or volume would tell an agent how expensive a coin is, not what it does. So
each is probed once on a made-up market: doubling all prices multiplies its columns by 2^p, doubling volumes
by 2^v, and a column is divided by close^p times (average volume)^v; its name then ends `_frac`.
"""

from __future__ import annotations

import difflib
import inspect
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from cappuccino.errors import ConfigError, DataError
from cappuccino.features.feature import Feature
from cappuccino.features.refusals import REFUSED
from cappuccino.features.rolling import rolling_mean
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray

MIN_WARMUP_BARS = 200
"""By then an error in the seed of MACD, or of a Wilder average of 14 bars, is below a hundred-thousandth."""
LENGTHS_TO_SETTLE = 14
"""The same for a Wilder average of any length, in multiples of it: e^-14 is 8e-7."""
MAX_LENGTH = 1000

# These know nothing but their last `length` bars, a few of them averaged once more.
_WINDOWED = {
    "aroon", "bbands", "bias", "cci", "cmf", "donchian", "er", "kurtosis", "linreg", "mad", "median",
    "midpoint", "midprice", "mom", "psl", "quantile", "roc", "skew", "slope", "sma", "stdev", "variance",
    "vwma", "willr", "wma", "zscore",
}  # fmt: skip
# Measured: bars after which the start of history moves a value by less than 1e-4 of its standard deviation.
_SLOW_BARS = {"hwc": 400, "hwma": 400, "jma": 300, "kvo": 400, "trix": 400, "vfi": 400, "vidya": 400}
# The same in multiples of the length: this one slows down where the price goes nowhere.
_SLOW_LENGTHS = {"vidya": 40}
# These look at calendar days, today's and yesterday's.
_DAILY = {"cpr", "vwap"}

# The catalogue's names are kept but for the base feature, whose columns also come in another order.
_MACD = {"MACD_12_26_9": "macd", "MACDs_12_26_9": "macd_signal", "MACDh_12_26_9": "macd_histogram"}
_POWERS = (0, 1, 2, -1, -2)

# pandas and its indicators carry no types.
Frame = Any


@dataclass(frozen=True)
class _Column:
    source: str
    name: str
    price_power: int
    volume_power: int


@cache
def _library() -> Any:
    with warnings.catch_warnings():
        # pandas-ta-classic 0.8 reads at import what pandas 3.1 deprecates.
        warnings.simplefilter("ignore")
        import pandas_ta_classic
    return pandas_ta_classic


@cache
def catalogue() -> tuple[str, ...]:
    """Return the names of all indicators in the catalogue, those that are refused included."""
    return tuple(sorted({name for names in _library().Category.values() for name in names}))


def indicator(name: str) -> Feature:
    """Return the indicator `name`, with its usual length, or `name_length`.

    Raises ConfigError for an unknown name (with near matches) and for an indicator that looks ahead,
    accumulates, needs other input than bars, or has no scale that can be removed.
    """
    base, length = _parse(name)
    if base in REFUSED:
        raise ConfigError(f"features.indicators: {name!r} cannot be a feature: it {REFUSED[base]}; remove it")
    if length is not None and "length" not in inspect.signature(_function(base)).parameters:
        raise ConfigError(f"features.indicators: {base!r} takes no length (found {name!r}); write {base!r}")
    columns = _probe(name)
    return Feature(
        tuple(column.name for column in columns),
        _warmup(base, length),
        lambda panel: _compute(panel, base, length, columns),
    )


def _parse(name: str) -> tuple[str, int | None]:
    if name in catalogue():
        return name, None
    match = re.fullmatch(r"(?P<base>\w+?)_(?P<length>\d+)", name)
    if match is None or match["base"] not in catalogue():
        wanted = match["base"] if match else name
        near = difflib.get_close_matches(wanted, catalogue(), n=5, cutoff=0.5)
        hint = f"near matches: {', '.join(near)}" if near else "see the pandas-ta catalogue"
        raise ConfigError(f"features.indicators: unknown indicator {name!r}; {hint} (each also as name_length)")
    length = int(match["length"])
    if not 1 <= length <= MAX_LENGTH:
        raise ConfigError(f"features.indicators: the length of {name!r} is not between 1 and {MAX_LENGTH}; change it")
    return match["base"], length


def _warmup(base: str, length: int | None) -> Callable[[Interval], int]:
    lengths = 2 if base in _WINDOWED else _SLOW_LENGTHS.get(base, LENGTHS_TO_SETTLE)
    n_bars = max(MIN_WARMUP_BARS, _SLOW_BARS.get(base, 0), lengths * (length or 0))
    return lambda interval: max(n_bars, 2 * interval.per_day) if base in _DAILY else n_bars


def _function(base: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(_library(), base)
    return function


def _compute(panel: BarPanel, base: str, length: int | None, columns: tuple[_Column, ...]) -> FloatArray:
    sources = [column.source for column in columns]
    values = np.empty((*panel.close.shape, len(columns)))
    for a, symbol in enumerate(panel.symbols):
        frame = _call(base, length, _series(panel, a))
        if frame is None or set(frame.columns) != set(sources):
            found = "nothing" if frame is None else ", ".join(frame.columns)
            raise DataError(f"indicator {base!r} of {symbol} gave {found} instead of {', '.join(sources)}; remove it")
        values[:, a] = frame[sources].to_numpy(dtype=float)
    with np.errstate(all="ignore"):  # without volume both may be infinite
        values = values / _scale(panel, columns)
    # 0/0 in a market that stands still, or a column that speaks in one direction only: no signal.
    return np.where(np.isfinite(values), values, 0.0)


def _scale(panel: BarPanel, columns: tuple[_Column, ...]) -> FloatArray:
    """Return what each column is divided by; (T, A, columns), 1 where it has no unit."""
    scale = np.ones((*panel.close.shape, len(columns)))
    if any(column.volume_power for column in columns):
        average_volume = rolling_mean(panel.volume, MIN_WARMUP_BARS)
    for f, column in enumerate(columns):
        if column.price_power:
            scale[..., f] *= panel.close**column.price_power
        if column.volume_power:
            with np.errstate(divide="ignore"):  # no volume in any of the bars: infinite, and so no signal
                scale[..., f] *= average_volume**column.volume_power
    return np.where(scale == 0, np.nan, scale)


def _series(panel: BarPanel, a: int) -> dict[str, Any]:
    """Return the bars of symbol `a` under the names that the catalogue's functions give their arguments."""
    import pandas as pd

    index = pd.DatetimeIndex(panel.opened_at)
    names = {"open_": "open", "high": "high", "low": "low", "close": "close", "volume": "volume"}
    return {key: pd.Series(getattr(panel, name)[:, a].copy(), index) for key, name in names.items()}


def _call(base: str, length: int | None, series: dict[str, Any]) -> Frame | None:
    function = _function(base)
    known = inspect.signature(function).parameters
    # TA-Lib, where somebody has it, rounds otherwise; models must see the same numbers on every machine.
    arguments = {**series, "talib": False, "length": length}
    arguments = {key: value for key, value in arguments.items() if key in known and value is not None}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = function(**arguments, lookahead=False)
    if isinstance(found, tuple):  # ichimoku's second frame is about days to come
        found = found[0]
    return found.to_frame() if hasattr(found, "to_frame") else found


@cache
def _probe(name: str) -> tuple[_Column, ...]:
    base, length = _parse(name)
    settled = _warmup(base, length)(Interval.H1)
    n_bars = settled + 200
    plain, pricey, busy = (
        _call(base, length, _series(_made_up_market(n_bars, price, volume), 0))
        for price, volume in ((1.0, 1.0), (2.0, 1.0), (1.0, 2.0))
    )
    if plain is None or plain.iloc[settled:].isna().all().any():
        raise ConfigError(f"features.indicators: {name!r} has no value on ordinary bars; remove it")
    sources = [str(source) for source in plain.columns]
    if set(sources) == set(_MACD):
        sources = list(_MACD)
    return tuple(
        _column(
            name,
            source,
            len(sources) == 1,
            *(_power(name, plain, scaled, source, settled) for scaled in (pricey, busy)),
        )
        for source in sources
    )


def _column(name: str, source: str, is_only: bool, price_power: int, volume_power: int) -> _Column:
    clean = name if is_only else _MACD.get(source, re.sub(r"\W+", "_", source).lower())
    suffix = "_frac" if price_power or volume_power else ""
    return _Column(source, clean + suffix, price_power, volume_power)


def _power(name: str, plain: Frame, scaled: Frame, source: str, settled: int) -> int:
    """Return p such that doubling the input multiplied the column by 2^p."""
    x, y = (frame[source].to_numpy(dtype=float)[settled:] for frame in (plain, scaled))
    for power in _POWERS:
        if np.allclose(y, x * 2.0**power, rtol=1e-9, atol=1e-12 * float(np.nanstd(x)), equal_nan=True):
            return power
    raise ConfigError(
        f"features.indicators: {name!r} depends on how dear a coin is and cannot be freed of it; remove it"
    )


def _made_up_market(n_bars: int, price_usd: float, volume: float) -> BarPanel:
    """Return hourly bars of one symbol that walk at random, the same each time."""
    rng = np.random.default_rng(1970)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, n_bars)))
    open_ = close * np.exp(rng.normal(0, 0.01, n_bars))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.004, n_bars)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.004, n_bars)))
    traded = np.exp(rng.normal(3, 0.5, n_bars))
    opened_at = np.datetime64("2020-01-01", "us") + np.arange(n_bars) * np.timedelta64(Interval.H1.us, "us")
    prices = {"open": open_, "high": high, "low": low, "close": close}
    return BarPanel(
        Interval.H1,
        ("MADE-UP/USD",),
        opened_at,
        **{key: price_usd * values[:, None] for key, values in prices.items()},
        volume=volume * traded[:, None],
        is_filled=np.zeros((n_bars, 1), dtype=bool),
    )
