"""What Cappuccino works with: configuration, source, warehouse, locks, bars and the model in production."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from cappuccino.clock import SystemClock
from cappuccino.errors import ArtifactError, CappuccinoError, WarehouseBusy
from cappuccino.market.sources import record_end, source_of
from cappuccino.registry.identity import ModelId
from cappuccino.settings import Settings
from cappuccino.store import bookkeeping
from cappuccino.store.schema import SCHEMA_VERSION
from cappuccino.store.warehouse import Reader, Warehouse
from cappuccino.watch import formats
from cappuccino.watch.doctor.finding import Finding, fail, ok, warn

READ_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Contents:
    """What the doctor wants from the warehouse, read in one opening."""

    freshness: pl.DataFrame
    producers: pl.DataFrame
    """Models in production and live: study, trial."""


def configuration(settings: Settings) -> Finding:
    """Say which profile is in use; real money is always worth a warning."""
    found = f"profile {settings.profile}, source {settings.market.source}, live trading "
    if settings.live.enabled:
        advice = "set live.enabled = false unless you mean it"
        return warn("configuration", found + "ON: a model that passes every gate may trade real money", advice)
    return ok("configuration", found + "off")


def source(settings: Settings) -> tuple[Finding, datetime | None]:
    """Judge whether the configured source answers; also returns where its record ends, if it does."""
    market = settings.market
    if market.source in ("alpaca", "coinbase"):
        return venue(settings), market.end
    try:
        origin = source_of(settings)
        symbols, span = origin.symbols(), origin.span()
    except (CappuccinoError, OSError) as error:
        advice = "correct market.path, its files or its permissions"
        return fail("source", f"{market.source} cannot be read: {error}", advice), None
    if span is None:
        return ok("source", f"{origin.name} market, endless"), record_end(market, origin)
    found = f"{origin.name}: {len(symbols)} symbols, {_day(span[0])} to {_day(span[1])} ({market.path})"
    absent = [symbol for symbol in market.symbols if symbol not in symbols]
    if absent:
        advice = f"add them to the files, or choose market.symbols from {', '.join(symbols)}"
        return fail("source", f"{found}; without {', '.join(absent)}", advice), record_end(market, origin)
    return ok("source", found), record_end(market, origin)


def venue(settings: Settings) -> Finding:
    """Judge whether a venue answers, by one question asked once."""
    market, name = settings.market, settings.market.source
    once = getattr(settings, name).model_copy(update={"max_attempts": 1})
    now = SystemClock().now()
    try:
        bars = source_of(settings.model_copy(update={name: once})).bars(
            market.symbols, market.base_interval, now - timedelta(days=1), now
        )
    except CappuccinoError as error:
        return fail("source", str(error), f"check the network, and the address under [{name}] in the configuration")
    absent = sorted({*market.symbols} - {*bars["symbol"]})
    if absent:
        advice = "choose market.symbols that are traded there"
        return fail("source", f"{name}: no bar of {', '.join(absent)} in the last day", advice)
    return ok("source", f"{name} answers: {len(bars)} bars of {len(market.symbols)} symbols in the last day")


def folder(settings: Settings) -> Finding:
    """Judge whether the warehouse folder can be written."""
    wanted = settings.warehouse.absolute()
    place = next(p for p in (wanted, *wanted.parents) if p.exists())
    if not place.is_dir():
        return fail("folder", f"{place} is not a folder", "choose another with --warehouse FOLDER")
    if not os.access(place, os.W_OK | os.X_OK):
        advice = f"give yourself the right to write there (`chmod u+rwx {place}`), or choose --warehouse FOLDER"
        return fail("folder", f"{place} is not writable", advice)
    return ok("folder", f"{wanted} is writable" if place == wanted else f"{wanted} will be created")


def warehouse(settings: Settings) -> tuple[Finding, Contents | None]:
    """Judge the warehouse file and return what the other findings need of it."""
    if not settings.database.is_file():
        return warn("warehouse", f"no {settings.database} yet", "create it with `cappuccino run`"), None
    try:
        with Warehouse(settings.database, timeout_s=READ_TIMEOUT_S).read() as reader:
            found = bookkeeping.version(reader.connection)
            finding = _version(settings.database, found[0] if found else None)
            return finding, _contents(reader) if finding.status == "ok" else None
    except WarehouseBusy as error:
        return warn("warehouse", str(error), "wait for that process, or stop it, then look again"), None
    except CappuccinoError as error:
        return fail("warehouse", str(error), "do as the message says; published.duckdb is a whole copy"), None


def _version(file: Path, version: int | None) -> Finding:
    found = f"{file}, schema version {version or 'none'}"
    if version is None or version < SCHEMA_VERSION:
        advice = "the next `cappuccino run` or sync brings it up to date"
        return warn("warehouse", f"{found}, older than {SCHEMA_VERSION}", advice)
    if version > SCHEMA_VERSION:
        advice = "update Cappuccino, or choose another folder with --warehouse"
        return fail("warehouse", f"{found}; this Cappuccino knows {SCHEMA_VERSION}", advice)
    return ok("warehouse", f"{found}, nobody writes")


def training(settings: Settings) -> Finding:
    """Say whether a study is training on this warehouse."""
    file = settings.warehouse / "training.lock"
    if not file.exists():
        return ok("training", "nothing trains")
    with file.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = lock.read().strip() or "unknown"
            found = f"process {holder} trains on this warehouse"
            return warn("training", found, f"wait for it, or stop it with `kill {holder}`; it resumes later")
    return ok("training", "nothing trains")


def bars(settings: Settings, contents: Contents, present: datetime) -> Finding:
    """Judge the age of each symbol's newest bar at `present`, the clock of this market."""
    market, rows = settings.market, contents.freshness
    sync = "fetch them with `cappuccino bars sync`"
    if rows.is_empty():
        return warn("bars", "none are stored", sync)
    absent = [symbol for symbol in market.symbols if symbol not in rows["symbol"].to_list()]
    if absent:
        return fail("bars", f"none are stored of {', '.join(absent)}", f"{sync}, or change market.symbols")
    limit = market.max_bar_age
    oldest = rows.filter(pl.col("symbol").is_in(market.symbols)).sort("known_until_utc", "symbol").row(0, named=True)
    until = oldest["known_until_utc"]
    behind = present - until
    found = f"known until {formats.text('', until)} UTC, {formats.age(behind)} before the present"
    if behind > limit:
        return warn("bars", f"{oldest['symbol']} is stale: {found}; allowed are {formats.age(limit)}", sync)
    return ok("bars", found)


def published(settings: Settings) -> Finding:
    """Judge the copy that people and notebooks may keep open."""
    copy = settings.published
    refresh = 'any question makes a new one: `cappuccino sql "from promotion.stages"`'
    if not settings.database.is_file():
        return ok("published copy", "nothing to publish yet")
    if not copy.is_file():
        return warn("published copy", f"no {copy}", refresh)
    if copy.stat().st_mtime_ns < settings.database.stat().st_mtime_ns:
        return warn("published copy", f"{copy} is older than the warehouse", refresh)
    return ok("published copy", f"{copy} is current")


def artifacts(settings: Settings, contents: Contents) -> Finding:
    """Load and verify the model of production, and of live if there is one."""
    if contents.producers.is_empty():
        return ok("model", "none is in production yet")
    # It imports torch, which takes seconds that an empty warehouse need not wait for.
    from cappuccino.arena.candidate import load_candidate

    models = [ModelId(study, trial) for study, trial in contents.producers.select("study", "trial").iter_rows()]
    for model in models:
        try:
            load_candidate(settings.artifacts, model)
        except ArtifactError as error:
            advice = f"restore its folder from a backup, or `cappuccino rollback`, or `cappuccino retire {model}`"
            return fail("model", str(error), advice)
    return ok("model", f"{', '.join(map(str, models))}: manifest and weights verified")


def _contents(reader: Reader) -> Contents:
    return Contents(
        reader.query("select symbol, known_until_utc from market.freshness"),
        reader.query("select study, trial from promotion.stages where stage in ('production', 'live')"),
    )


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
