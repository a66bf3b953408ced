"""What is too old, as facts of the warehouse and a moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader


@dataclass(frozen=True)
class Staleness:
    """How far bars of every symbol and training data reach; None where there are none yet."""

    bars_known_until: datetime | None
    trained_until: datetime | None
    bars_are_stale: bool
    training_is_stale: bool


def staleness(reader: Reader, settings: Settings, now: datetime) -> Staleness:
    """Return what is stale at `now`: bars after two intervals and the grace time, training data after its days."""
    market = settings.market
    known = reader.query(
        "select known_until_utc from market.freshness where list_contains($symbols, symbol)",
        symbols=list(market.symbols),
    )["known_until_utc"].to_list()
    trained = reader.one(
        "select max(data_end_utc) from lab.studies where kind = 'training' and state in ('complete', 'converged')"
    )
    # A symbol without any bar is not known until any time.
    bars_until = min(known) if len(known) == len(market.symbols) else None
    trained_until = trained[0] if trained else None
    return Staleness(
        bars_until,
        trained_until,
        bars_are_stale=bars_until is None or now - bars_until > market.max_bar_age,
        training_is_stale=trained_until is None
        or now - trained_until > timedelta(days=settings.training.max_data_age_days),
    )
