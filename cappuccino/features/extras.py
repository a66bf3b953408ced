"""Features of our own by name: the page on which they are all listed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable

from cappuccino.errors import ConfigError
from cappuccino.features.calendar import day_of_week, time_of_day
from cappuccino.features.correlation import correlation
from cappuccino.features.feature import Feature
from cappuccino.features.momentum import average_directional_index, rate_of_change
from cappuccino.features.regime import regime
from cappuccino.features.trend import trend
from cappuccino.features.volatility import realized_volatility
from cappuccino.features.volume import volume_zscore
from cappuccino.market.interval import Interval

MIN_LENGTH = 2
MAX_LENGTH = 1000

_WITH_LENGTH: dict[str, Callable[[int], Feature]] = {
    "adx": average_directional_index,
    "correlation": correlation,
    "realized_volatility": realized_volatility,
    "roc": rate_of_change,
    "volume_zscore": volume_zscore,
}
_PLAIN: dict[str, Callable[[], Feature]] = {
    "day_of_week": day_of_week,
    "regime": regime,
    "time_of_day": time_of_day,
    "trend_1d": lambda: trend(Interval.D1),
    "trend_4h": lambda: trend(Interval.H4),
}


def extra(name: str) -> Feature:
    """Return the extra feature `name`; raises ConfigError listing the names when there is none such."""
    if name in _PLAIN:
        return _PLAIN[name]()
    match = re.fullmatch(r"(?P<base>\w+?)_(?P<length>\d+)", name)
    if match is None or match["base"] not in _WITH_LENGTH:
        raise ConfigError(_unknown(name))
    length = int(match["length"])
    if not MIN_LENGTH <= length <= MAX_LENGTH:
        raise ConfigError(
            f"features.extras: the length of {name!r} is not between {MIN_LENGTH} and {MAX_LENGTH}; change it"
        )
    return _WITH_LENGTH[match["base"]](length)


def _unknown(name: str) -> str:
    names = [*_PLAIN, *(f"{base}_N" for base in _WITH_LENGTH)]
    near = difflib.get_close_matches(re.sub(r"\d+$", "N", name), names, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"features.extras: unknown feature {name!r}; {meant}There are {', '.join(sorted(names))} (N = bars)"
