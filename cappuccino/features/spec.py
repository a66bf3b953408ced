"""Which features an agent sees: the configuration, checked and turned into columns."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache

from cappuccino.errors import ConfigError
from cappuccino.features.catalogue import indicator
from cappuccino.features.extras import extra
from cappuccino.features.feature import Feature
from cappuccino.features.price import price
from cappuccino.market.interval import Interval
from cappuccino.settings import FeatureSettings


@dataclass(frozen=True)
class FeatureSpec:
    """Names of the wanted features; equal names, equal columns.

    Raises ConfigError when a name is unknown or refused, or when two of them make the same column. Made of
    text only, so that it can be stored with a model and sent to another process.
    """

    indicators: tuple[str, ...]
    extras: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        repeated = [name for name, count in Counter(self.names).items() if count > 1]
        if repeated:
            raise ConfigError(
                f"features: {', '.join(repeated)} would be there twice; name each indicator or extra once"
            )

    @classmethod
    def from_settings(cls, settings: FeatureSettings) -> FeatureSpec:
        return cls(settings.indicators, settings.extras)

    @property
    def features(self) -> tuple[Feature, ...]:
        """The families in the order of their columns: bars, indicators, extras."""
        return _features(self.indicators, self.extras)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns in order: F names."""
        return tuple(name for feature in self.features for name in feature.names)

    def warmup_bars(self, interval: Interval) -> int:
        """Return how many bars there must be before the first one that has features."""
        return max(feature.warmup_bars(interval) for feature in self.features)


@cache
def _features(indicators: tuple[str, ...], extras: tuple[str, ...]) -> tuple[Feature, ...]:
    return (price(), *map(indicator, indicators), *map(extra, extras))
