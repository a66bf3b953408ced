"""Who trades: the stages of the models, by short reads of the warehouse; without one, whoever traded last goes on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cappuccino.arena.candidate import Candidate, load_candidate
from cappuccino.errors import ArtifactError
from cappuccino.registry.artifacts import folder_of, read_manifest
from cappuccino.registry.identity import ModelId
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader, Warehouse
from cappuccino.trading.paper import PaperAccount, open_paper_accounts

BRIEFLY_S = 3.0
"""How long the trader waits for a busy warehouse."""


@dataclass(frozen=True)
class Place:
    """A model at the desk."""

    model: ModelId
    stage: str
    since: datetime
    """When it came to the desk: to the sandbox, or to production from outside."""


@dataclass(frozen=True)
class Roster:
    """Who is at the desk, and the accounts that were traded from the warehouse so far."""

    places: tuple[Place, ...]
    paper: tuple[PaperAccount, ...]
    opening_closes: Mapping[ModelId, tuple[float, ...]]
    """Closes that each of these accounts was opened at, in the order of its symbols."""


def read_roster(settings: Settings, known: Collection[ModelId] = ()) -> Roster:
    """Return who is at the desk now, and the warehouse's accounts of all but the `known` models, which have one here.

    Raises WarehouseError when the warehouse cannot be read soon.
    """
    warehouse = Warehouse(settings.database, timeout_s=BRIEFLY_S)
    with warehouse.read() as reader:
        rows = reader.query(
            """
            with arrived as (
                select study, trial, arg_max(decided_at_utc, sequence) as since_utc
                from promotion.decisions
                where to_stage in ('sandbox', 'production', 'live')
                    and coalesce(from_stage, '') not in ('sandbox', 'production', 'live')
                group by study, trial
            )
            select study, trial, stage, arrived.since_utc
            from promotion.stages
            inner join arrived using (study, trial)
            where stage in ('sandbox', 'production', 'live')
            order by study, trial
            """
        )
        accounts = open_paper_accounts(reader, settings.sandbox.cash_usd)
        paper = tuple(account for account in accounts if account.model not in known)
        closes = {one.model: _opening_closes(reader, settings.artifacts, one) for one in paper if one.state is not None}
    places = tuple(Place(ModelId(study, trial), stage, since) for study, trial, stage, since in rows.iter_rows())
    return Roster(places, paper, {model: found for model, found in closes.items() if found})


def _opening_closes(reader: Reader, artifacts: Path, account: PaperAccount) -> tuple[float, ...]:
    """Return the closes of the bar that the account decided on first; nothing when they are not known any more."""
    try:
        manifest = read_manifest(folder_of(artifacts, account.model), account.model)
    except ArtifactError:
        return ()
    rows = reader.query(
        """
        select symbol, arg_min(close, closed_at_utc) as close from market.bars_all
        where interval = $interval and closed_at_utc >= $opened_at and list_contains($symbols, symbol)
        group by symbol
        """,
        interval=manifest.interval.value,
        opened_at=account.opened_at,
        symbols=list(manifest.symbols),
    )
    found = dict(rows.iter_rows())
    return tuple(found[symbol] for symbol in manifest.symbols) if set(manifest.symbols) <= set(found) else ()


class Models:
    """Candidates from their artifact folders, each loaded once; a model that cannot be loaded is not at the desk."""

    def __init__(self, artifacts: Path) -> None:
        self._artifacts = artifacts
        self._loaded: dict[ModelId, Candidate] = {}
        self.failures: dict[ModelId, str] = {}

    def get(self, model: ModelId) -> Candidate | None:
        """Return the candidate; None, with a line in `failures`, when its folder is damaged."""
        if model not in self._loaded:
            try:
                self._loaded[model] = load_candidate(self._artifacts, model)
                self.failures.pop(model, None)
            except (ArtifactError, OSError) as error:
                self.failures[model] = str(error)
                return None
        return self._loaded[model]

    def keep(self, models: set[ModelId]) -> None:
        """Forget all others."""
        self._loaded = {model: candidate for model, candidate in self._loaded.items() if model in models}
        self.failures = {model: why for model, why in self.failures.items() if model in models}
