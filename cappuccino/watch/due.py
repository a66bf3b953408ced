"""What should happen now: pure functions of the warehouse and a moment. Sensors and replay ask the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cappuccino.errors import StaleData
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader
from cappuccino.watch.staleness import staleness


@dataclass(frozen=True)
class Due:
    """Whether something is to be done, and why, or why not."""

    is_due: bool
    reason: str
    since: datetime | None = None
    """How far the data reach that make it due; None where there are none yet."""


def trading_due(reader: Reader, settings: Settings, now: datetime) -> Due:
    """Return whether to sync bars and let the desk trade them: the newest bar of some symbol is stale."""
    found = staleness(reader, settings, now)
    known = (
        f"bars are known until {_text(found.bars_known_until)}" if found.bars_known_until else "there are no bars yet"
    )
    return Due(found.bars_are_stale, known, found.bars_known_until)


def training_due(reader: Reader, settings: Settings, now: datetime) -> Due:
    """Return whether to start a new study: training data are stale, and bars are not."""
    found = staleness(reader, settings, now)
    if found.bars_are_stale:
        return Due(False, "bars are stale; they have to be synced first", found.trained_until)
    until = found.trained_until
    reach = f"training data reach until {_text(until)}" if until else "nothing was trained yet"
    return Due(found.training_is_stale, reach, found.trained_until)


def arena_due(reader: Reader, settings: Settings, now: datetime) -> Due:
    """Return whether candidates wait before the arena, as after a run that was stopped between study and arena."""
    if staleness(reader, settings, now).bars_are_stale:
        return Due(False, "bars are stale; they have to be synced first")
    waiting = reader.one(
        """
        select count(*), max(lab.studies.data_end_utc)
        from lab.trials
        inner join lab.studies using (study)
        anti join promotion.decisions using (study, trial)
        anti join arena.gates using (study, trial)
        where lab.studies.kind <> 'timeframe' and lab.studies.state in ('complete', 'converged')
            and lab.trials.state = 'complete'
        """
    )
    n_waiting, since = waiting or (0, None)
    return Due(n_waiting > 0, f"{n_waiting} candidates wait before the arena", since)


def require_fresh(reader: Reader, settings: Settings, now: datetime, what: str) -> None:
    """Raise StaleData when the newest bar of some symbol is too old at `now` for `what` (training, promotion ...)."""
    found = staleness(reader, settings, now)
    if found.bars_are_stale:
        allowed = settings.market.max_bar_age / timedelta(minutes=1)
        raise StaleData(
            f"no {what} on stale data: at {now:%F %R} UTC bars of every symbol are known until "
            f"{_text(found.bars_known_until)}, and may be {allowed:g} minutes old; sync them (`cappuccino bars sync`), "
            "or leave out a symbol that is no longer traded (market.symbols)"
        )
    derived = _derived_until(reader, settings)
    if derived is None or now - derived > settings.market.max_bar_age:
        raise StaleData(
            f"no {what} on stale data: market.bars is known until {_text(found.bars_known_until)}, but "
            f"market.bars_all, which decisions are made from, until {_text(derived)}; materialise market/bars_all"
        )


def _derived_until(reader: Reader, settings: Settings) -> datetime | None:
    """Return how far the bars of every symbol reach from which decisions are made."""
    found = reader.one(
        """
        select min(until_utc) from (
            select max(closed_at_utc) as until_utc from market.bars_all
            where interval = $interval and list_contains($symbols, symbol) group by symbol
        )
        """,
        interval=settings.market.base_interval.value,
        symbols=list(settings.market.symbols),
    )
    return found[0] if found else None


def _text(moment: datetime | None) -> str:
    return f"{moment:%F %R} UTC" if moment else "no time"
