"""Which thresholds a study tries: today's first, then a grid, then a stop-loss for one symbol at a time.

A point that takes the unit of a layer's thresholds elsewhere, from fractions to multiples of volatility or back,
switches off those of that layer which it does not name: today's numbers would mean something else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from cappuccino.errors import ConfigError
from cappuccino.risk.rules import Rules
from cappuccino.validation.thresholds import BY_SYMBOL, NAMES, Point, grid

MAX_POINTS = 2_000
LAYERS: Final = MappingProxyType(
    {
        "protection_scaled": ("portfolio_trailing_stop_frac", "profit_take_frac", "move_to_cash_frac"),
        "position_scaled": ("stop_loss_frac", "position_trailing_stop_frac"),
    }
)
"""The flag of each layer of rules, with the thresholds whose unit it says."""
OPTIONS: Final = MappingProxyType(
    {
        "portfolio_trailing_stop_frac": "trailing-stop",
        "profit_take_frac": "profit-take",
        "stop_loss_frac": "stop-loss",
        "position_trailing_stop_frac": "position-trailing-stop",
    }
)
"""What may be varied, with the names of the command line."""
Values = Mapping[str, Sequence[float]]
USUAL_FIXED: Final[Values] = MappingProxyType(
    {
        "portfolio_trailing_stop_frac": (0.0, 0.015, 0.03, 0.06),
        "profit_take_frac": (0.0, 0.03, 0.06),
        "stop_loss_frac": (0.0, 0.1),
    }
)
USUAL_SCALED: Final[Values] = MappingProxyType(
    {
        "portfolio_trailing_stop_frac": (0.0, 0.5, 1.0, 2.0),
        "profit_take_frac": (0.0, 1.0, 2.0),
        "stop_loss_frac": (0.0, 3.0),
    }
)
STOPS_FIXED: Final = (0.0, 0.03, 0.05, 0.1, 0.2)
STOPS_SCALED: Final = (0.0, 1.0, 2.0, 3.0, 6.0)
"""Stop-losses of one symbol, where none are given."""


class Unit(StrEnum):
    """What the numbers of a grid are."""

    FIXED = "fixed"
    """Fractions of the value or price."""
    SCALED = "scaled"
    """Multiples of the volatility of a day."""
    BOTH = "both"
    """The usual grid in either unit."""


@dataclass(frozen=True)
class Candidates:
    """The points of a study; the first is today's, `{}`."""

    points: tuple[Point, ...]
    in_grid: tuple[bool, ...]
    """Whether each is one of the grid, which today's may be."""
    symbols: tuple[str | None, ...]
    """The only symbol that a point differs from today's in; None for all."""

    def __len__(self) -> int:
        return len(self.points)


def candidates(
    rules: Rules, symbols: tuple[str, ...], values: Values, unit: Unit | None, by_symbol: bool
) -> Candidates:
    """Return today's point, the grid of `values`, and with `by_symbol` stop-losses of all and of each of `symbols`.

    Without `values` the grid is the usual one, in both units unless `unit` says one. Without `unit`, `values` are what
    today's are. Points that do the same are tried once. Raises ConfigError for a number that is no threshold, a unit
    that does not fit, or too many points.
    """
    _require(rules, values, unit)
    found = _grid(rules, values, unit)
    own: list[tuple[Point, str | None]] = [(point, None) for point in found]
    if by_symbol:
        stops = values.get("stop_loss_frac") or (STOPS_SCALED if rules.position_scaled else STOPS_FIXED)
        _require_todays_unit(rules, values, unit)
        own += [({"stop_loss_frac": stop}, None) for stop in stops]
        own += [(_for_symbol(rules, symbol, stop), symbol) for symbol in symbols for stop in stops]
    if len(own) > MAX_POINTS:
        raise ConfigError(f"a grid of {len(own):,} points; {MAX_POINTS:,} are the most, and each makes luck larger")
    return _once(rules, own, {_meaning(rules, point, symbols) for point in found}, symbols)


def _grid(rules: Rules, values: Values, unit: Unit | None) -> list[Point]:
    if values:
        return [_in_unit(rules, point, unit) for point in grid(**values)]
    usual = {Unit.FIXED: USUAL_FIXED, Unit.SCALED: USUAL_SCALED}
    units = (Unit.FIXED, Unit.SCALED) if unit in (None, Unit.BOTH) else (unit,)
    return [_in_unit(rules, point, each) for each in units if each for point in grid(**usual[each])]


def _in_unit(rules: Rules, point: Point, unit: Unit | None) -> Point:
    """Return `point` with the flags of the layers that it varies, and off what has another unit today."""
    if unit is None:
        return point
    whole: dict[str, Any] = dict(point)
    is_scaled = unit is Unit.SCALED
    for flag, names in LAYERS.items():
        if not any(name in point for name in names):
            continue
        whole[flag] = is_scaled
        if is_scaled != getattr(rules, flag):
            whole |= {name: 0.0 for name in names if name not in point}
            whole |= {BY_SYMBOL[name]: () for name in names if name in BY_SYMBOL}
    return whole


def _for_symbol(rules: Rules, symbol: str, stop: float) -> Point:
    others = tuple(pair for pair in rules.stop_loss_by_symbol if pair[0] != symbol)
    return {"stop_loss_by_symbol": (*others, (symbol, stop))}


def _once(
    rules: Rules, own: Iterable[tuple[Point, str | None]], of_grid: set[object], symbols: tuple[str, ...]
) -> Candidates:
    """Return the points after today's, the first of those that mean the same for the same symbol."""
    today = _meaning(rules, {}, symbols)
    kept: dict[tuple[object, str | None], Point] = {(today, None): {}}
    for point, symbol in own:
        meaning = _meaning(rules, point, symbols)
        kept.setdefault((meaning, None if meaning == today else symbol), point)
    return Candidates(
        points=tuple(kept.values()),
        in_grid=tuple(symbol is None and meaning in of_grid for meaning, symbol in kept),
        symbols=tuple(symbol for _, symbol in kept),
    )


def _meaning(rules: Rules, point: Point, symbols: tuple[str, ...]) -> object:
    """Return what a point does, the same for points that do the same."""
    changes: dict[str, Any] = dict(point)
    whole = replace(rules, **changes)
    numbers: dict[str, Any] = {name: getattr(whole, name) for name in NAMES}
    for usual, exceptions in BY_SYMBOL.items():
        own = dict(getattr(whole, exceptions))
        numbers[usual] = tuple(own.get(symbol, numbers[usual]) for symbol in symbols)
    for flag, names in LAYERS.items():
        is_off = not any(any(numbers[name]) if name in BY_SYMBOL else numbers[name] for name in names)
        numbers[flag] = numbers[flag] and not is_off  # without a threshold its unit means nothing
    return tuple(numbers.items())


def _require(rules: Rules, values: Values, unit: Unit | None) -> None:
    if values and unit is Unit.BOTH:
        raise ConfigError("a number cannot be a fraction and a multiple of volatility; choose --fixed or --scaled")
    for name, numbers in values.items():
        flag = next(flag for flag, names in LAYERS.items() if name in names)
        is_scaled = getattr(rules, flag) if unit is None else unit is Unit.SCALED
        for number in numbers:
            if not math.isfinite(number) or number < 0:
                raise ConfigError(f"--{OPTIONS[name]} {number} is no threshold; give numbers above 0, or off")
            if number > 1 and not is_scaled and name != "profit_take_frac":
                raise ConfigError(f"--{OPTIONS[name]} {number} is more than all; multiples of volatility need --scaled")


def _require_todays_unit(rules: Rules, values: Values, unit: Unit | None) -> None:
    """One symbol's exception has the unit of all others' stop-losses."""
    if "stop_loss_frac" in values and unit is not None and (unit is Unit.SCALED) != rules.position_scaled:
        today = Unit.SCALED if rules.position_scaled else Unit.FIXED
        raise ConfigError(
            f"--by-symbol changes one symbol beside the others, whose stop-losses are {today}; use --{today}"
        )
