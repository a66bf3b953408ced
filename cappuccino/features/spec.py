"""Which features an agent sees: the configuration, checked and turned into columns."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from cappuccino.errors import ConfigError
from cappuccino.features.catalogue import indicator
from cappuccino.features.context import named
from cappuccino.features.extras import extra
from cappuccino.features.feature import Feature
from cappuccino.features.inputs import from_input
from cappuccino.features.price import price
from cappuccino.market.inputs import DEFAULT_MAX_AGE_HOURS, NO_INPUTS, Inputs
from cappuccino.market.interval import Interval
from cappuccino.settings import FeatureSettings


@dataclass(frozen=True)
class FeatureSpec:
    """Names of the wanted features; equal names, equal columns.

    `rsi_14@4h` is rsi_14 of the newest 4-hour bar that has closed, see context.py; `inputs` are what a panel has to
    bring along beside its bars. Raises ConfigError when a name is unknown or refused, or when two of them make the
    same column. Made of text and one number, so that it can be stored with a model and sent to another process.
    """

    indicators: tuple[str, ...]
    extras: tuple[str, ...] = ()
    inputs: Inputs = NO_INPUTS

    def __post_init__(self) -> None:
        repeated = [name for name, count in Counter(self.names).items() if count > 1]
        if repeated:
            raise ConfigError(
                f"features: {', '.join(repeated)} would be there twice; name each indicator or extra once"
            )

    @classmethod
    def from_settings(cls, settings: FeatureSettings) -> FeatureSpec:
        inputs = Inputs(settings.inputs, settings.max_input_age_hours) if settings.inputs else NO_INPUTS
        return cls(settings.indicators, settings.extras, inputs)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> FeatureSpec:
        """Return the spec of `to_dict`; those that were stored before there were inputs have none."""
        inputs = Inputs(tuple(stored.get("inputs", ())), stored.get("max_input_age_hours", DEFAULT_MAX_AGE_HOURS))
        return cls(tuple(stored["indicators"]), tuple(stored["extras"]), inputs)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; without inputs, those that were stored before there were any."""
        names: dict[str, Any] = {"indicators": self.indicators, "extras": self.extras}
        if self.inputs.names:
            names |= {"inputs": self.inputs.names, "max_input_age_hours": self.inputs.max_age_hours}
        return names

    @property
    def features(self) -> tuple[Feature, ...]:
        """The families in the order of their columns: bars, indicators, extras, inputs."""
        return _features(self.indicators, self.extras, self.inputs.names)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns in order: F names."""
        return tuple(name for feature in self.features for name in feature.names)

    def warmup_bars(self, interval: Interval) -> int:
        """Return how many bars there must be before the first one that has features."""
        return max(feature.warmup_bars(interval) for feature in self.features)


@cache
def _features(indicators: tuple[str, ...], extras: tuple[str, ...], inputs: tuple[str, ...]) -> tuple[Feature, ...]:
    families = [
        *map(partial(named, key="features.indicators", make=indicator), indicators),
        *map(partial(named, key="features.extras", make=extra), extras),
    ]
    return (price(), *families, *map(from_input, inputs))
