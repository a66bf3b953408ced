"""What is too old, as facts of the warehouse and a moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader


@dataclass(frozen=True)
class Staleness:
    """How old bars and training data are; None where there are none yet."""

    bars_known_until: datetime | None
    trained_until: datetime | None
    bars_are_stale: bool
    training_is_stale: bool


def staleness(reader: Reader, settings: Settings, now: datetime) -> Staleness:
    """Return what is stale at `now`: bars after two intervals and the grace time, training data after its days."""
    market = settings.market
    newest = reader.one(
        "select min(known_until_utc) from market.freshness where list_contains($symbols, symbol)",
        symbols=list(market.symbols),
    )
    trained = reader.one(
        "select max(data_end_utc) from lab.studies where kind = 'training' and state in ('complete', 'converged')"
    )
    bars_until = newest[0] if newest else None
    trained_until = trained[0] if trained else None
    patience = 2 * market.base_interval.duration + timedelta(minutes=market.grace_minutes)
    return Staleness(
        bars_until,
        trained_until,
        bars_are_stale=bars_until is None or now - bars_until > patience,
        training_is_stale=trained_until is None
        or now - trained_until > timedelta(days=settings.training.max_data_age_days),
    )
