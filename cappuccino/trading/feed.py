"""The one market feed of all accounts: bars in a warehouse of its own, and the quotes of now.

The trader waits for nobody: its bars lie in a file of its own, fetched by the same sync as those that models were
trained on, and made into longer ones by the same SQL, in memory, when an account wants them. Only a start looks into
the main warehouse, to save questions to the venue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import duckdb
import polars as pl

from cappuccino.errors import CappuccinoError, DataError, SourceError, WarehouseBusy, WarehouseError
from cappuccino.market.inputs import with_inputs
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, panel_from_frame
from cappuccino.market.quotes import Quote, QuoteSource
from cappuccino.market.source import BarSource, RemoteSource
from cappuccino.market.sync import sync_bars
from cappuccino.portfolio.conditions import WINDOW_DAYS
from cappuccino.rl.agent import Market
from cappuccino.settings import MarketSettings, TraderSettings
from cappuccino.store.frames import naive_frame
from cappuccino.store.schema import SQL_DIR, Schema
from cappuccino.store.warehouse import Reader, Warehouse, Writer

TABLES = ("market.bars", "ops.syncs", "ops.api_errors")
"""Contracts of the main warehouse that the file has as well."""
SLACK = timedelta(days=2)
"""More than what is needed: what is older is forgotten every few days, not with every bar."""


@dataclass(frozen=True)
class Needed:
    """A market that somebody trades, and how many bars a decision on it needs."""

    market: Market
    history_bars: int

    def start(self, now: datetime) -> datetime:
        """Return the open of the oldest bar that is needed."""
        interval = self.market.interval
        n_bars = max(self.history_bars, WINDOW_DAYS * interval.per_day) + 2
        return interval.floor(now) - n_bars * interval.duration


@dataclass(frozen=True)
class _Newest:
    """Newest bar of each symbol."""

    closed_at: Mapping[str, datetime]
    closes: Mapping[str, float]


@dataclass(frozen=True)
class _Derived:
    """Bars of one interval, without holes, from `start` on."""

    start: datetime
    frame: pl.DataFrame


def file_name(source: str, interval: Interval) -> str:
    """Return the name of the file that holds the bars of a source in the trader's folder."""
    return f"feed-{source}-{interval}.duckdb"


@cache
def _schema() -> Schema:
    """Return what sql/ says: reading it takes seconds, and not every start needs it."""
    return Schema.load(SQL_DIR)


class _Own(Warehouse):
    """The feed's file. A sync reads and writes it a dozen times, and opening it takes longer than all of that."""

    _held: duckdb.DuckDBPyConnection | None = None

    @contextmanager
    def held_open(self) -> Iterator[None]:
        """Keep the file open for the block, whose reads and writes share the opening."""
        with super()._opened(read_only=False) as connection:
            self._held = connection
            try:
                yield
            finally:
                self._held = None

    @contextmanager
    def _opened(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        if self._held is not None:
            yield self._held
            return
        with super()._opened(read_only=read_only) as connection:
            yield connection


class Feed:
    """Bars and quotes. `failure` says what went wrong with the newest look; trading goes on with what is known."""

    def __init__(
        self,
        folder: Path,
        main: Warehouse,
        source: BarSource,
        quotes: QuoteSource,
        market: MarketSettings,
        settings: TraderSettings,
    ) -> None:
        # The market goes on: where a record for study ends does not matter here.
        self._market = market.model_copy(update={"start": None, "end": None})
        # Bars of two sources, or of two lengths, never mix.
        file = folder / file_name(source.name, market.base_interval)
        self._own, self._main, self._source, self._quotes = _Own(file), main, source, quotes
        self.beat: Callable[[], None] = lambda: None
        """Called while bars arrive: a long history is no hang."""
        self._settings = settings
        self._needed: tuple[Needed, ...] = ()
        self._since: datetime | None = None
        self._known: _Newest | None = None
        self._derived: dict[Interval, _Derived] = {}
        self._panels: dict[tuple[Needed, datetime], BarPanel] = {}
        self._calls: list[pl.DataFrame] = []
        self._quotes_failure = self._bars_failure = ""

    @property
    def symbols(self) -> tuple[str, ...]:
        return self._market.symbols

    def widen(self, symbols: Iterable[str]) -> None:
        """Look at `symbols` too: an account may hold what the configuration has not any more."""
        more = tuple(symbol for symbol in dict.fromkeys(symbols) if symbol not in self.symbols)
        if more:
            self._market = self._market.model_copy(update={"symbols": (*self.symbols, *more)})
            self._known = self._since = None

    @property
    def failure(self) -> str:
        return "; ".join(dict.fromkeys(filter(None, (self._quotes_failure, self._bars_failure))))

    @property
    def closes(self) -> Mapping[str, float]:
        """Newest close of each symbol: after a start those of before, so that a first quote has something beside it."""
        if self._known is None and self._own.file.is_file():
            try:
                self._look_up()
            except CappuccinoError as error:
                self._bars_failure = str(error)
        return self._known.closes if self._known else {}

    @property
    def closed_at(self) -> Mapping[str, datetime]:
        """When the bars of `closes` closed."""
        return self._known.closed_at if self._known else {}

    def drain(self) -> pl.DataFrame:
        """Return how the calls for quotes and bars went since the last time."""
        calls = [self._source.drain()] if isinstance(self._source, RemoteSource) else []
        calls += self._calls
        self._calls = []
        return pl.concat(calls) if calls else pl.DataFrame()

    def quotes(self) -> Mapping[str, Quote]:
        """Return the quotes of now, none when nobody answers."""
        try:
            found = self._quotes.quotes(self.symbols)
        except (SourceError, DataError) as error:
            self._quotes_failure = str(error)
            return {}
        self._quotes_failure = ""
        return found

    def update(self, needed: Iterable[Needed], now: datetime) -> None:
        """Fetch the bars that have closed by `now`, settling time past, and that are not known yet.

        Never raises for the source, the main warehouse or its own file: see `failure`.
        """
        self._needed = tuple(needed)
        if not self._needed:
            return
        now -= timedelta(seconds=self._settings.settle_s)
        start = Interval.D1.floor(min(one.start(now) for one in self._needed))
        try:
            if self._since is None:
                self._open(start - SLACK)
            is_longer = self._since is None or start < self._since
            if is_longer or not self._is_whole(now):
                with self._own.held_open():
                    self._fetch(start, now)
            self._bars_failure = ""
        except CappuccinoError as error:
            self._bars_failure = str(error)

    def _is_whole(self, now: datetime) -> bool:
        """Return whether every symbol has its newest bar."""
        newest = self._market.base_interval.floor(now)
        known = self._known.closed_at if self._known else {}
        return all(symbol in known and known[symbol] >= newest for symbol in self.symbols)

    def _open(self, start: datetime) -> None:
        """Make the file, or make it anew when it cannot be read: the venue has it all."""
        own = Schema(tuple(file for file in _schema().files if file.full_name in TABLES))
        try:
            self._own.migrate(own)
        except WarehouseBusy:
            raise
        except WarehouseError:
            for name in (self._own.file.name, f"{self._own.file.name}.wal"):
                self._own.file.with_name(name).unlink(missing_ok=True)
            self._own.migrate(own)
        self._look_up()
        if self._known is None or not self._known.closes:
            self._borrow(start)

    def _fetch(self, start: datetime, now: datetime) -> None:
        since = self._since
        if since is None or not start - 2 * SLACK <= since <= start:
            since = start - SLACK
        has_news = True
        try:
            synced = sync_bars(
                self._own,
                self._source,
                self._market,
                since,
                now,
                now,
                only_missing=True,
                on_progress=lambda _: self.beat(),
            )
            has_news = synced.n_new + synced.n_changed > 0
        finally:  # answers before the one that failed are stored
            self._look_up(now)
            if has_news:
                self._derived.clear()
                self._panels.clear()
        if since != self._since:
            self._tidy(since, now)
        self._since = since

    def _look_up(self, synced_at: datetime | None = None) -> None:
        """Read which bars are the newest, and how the calls of the sync at `synced_at` went."""
        with self._own.read() as reader:
            rows = reader.query(
                """
                select symbol, max(closed_at_utc) as closed_at_utc, arg_max(close, opened_at_utc) as close
                from market.bars where list_contains($symbols, symbol) group by symbol
                """,
                symbols=list(self.symbols),
            )
            if synced_at is not None:
                told = "select * exclude (synced_at_utc) from ops.api_errors where synced_at_utc = $at"
                self._calls.append(reader.query(told, at=synced_at))
        symbols = rows["symbol"].to_list()
        self._known = _Newest(
            dict(zip(symbols, rows["closed_at_utc"], strict=True)), dict(zip(symbols, rows["close"], strict=True))
        )

    def _tidy(self, since: datetime, now: datetime) -> None:
        """Forget bars that nobody needs any more, and how each one of long ago was asked for: all since has come."""
        settled = Interval.D1.floor(now) - SLACK
        with self._own.write() as writer:
            writer.execute("delete from market.bars where opened_at_utc < $since", since=since)
            writer.execute("delete from ops.api_errors where synced_at_utc < $settled", settled=settled)
            old = writer.query("from ops.syncs where to_utc <= $settled order by synced_at_utc", settled=settled)
            if len(old) < 2:
                return
            whole = old[-1:].with_columns(
                pl.lit(since).cast(old.schema["from_utc"]).alias("from_utc"),
                pl.lit(old["to_utc"].max()).cast(old.schema["to_utc"]).alias("to_utc"),
                pl.Series("symbols", [list(self.symbols)]),
            )
            writer.replace("ops.syncs", whole, "to_utc <= $settled", settled=settled)

    def _borrow(self, start: datetime) -> None:
        """Copy what the main warehouse has from `start` on, if it is there and of the same kind."""
        if not self._main.file.is_file():
            return
        try:
            with Warehouse(self._main.file, timeout_s=5.0).read() as reader:
                bars, syncs = self._borrowed(reader, start)
            if len(bars):
                with self._own.write() as writer:
                    writer.append("market.bars", bars)
                    writer.append("ops.syncs", syncs)
        except WarehouseError:
            return  # the venue has it all

    def _borrowed(self, reader: Reader, start: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
        bars = reader.query(
            """
            select * from market.bars
            where source = $source and opened_at_utc >= $start and list_contains($symbols, symbol)
                and epoch_us(closed_at_utc) - epoch_us(opened_at_utc) = $us
            """,
            source=self._source.name,
            start=start,
            symbols=list(self.symbols),
            us=self._market.base_interval.us,
        )
        syncs = reader.query(
            """
            select * replace (greatest(from_utc, $start) as from_utc) from ops.syncs
            where source = $source and interval = $interval and to_utc > $start
            """,
            source=self._source.name,
            start=start,
            interval=self._market.base_interval.value,
        )
        return bars, syncs

    def panel(self, needed: Needed, closed_at: datetime, now: datetime) -> BarPanel:
        """Return the bars up to the one that closed at `closed_at`.

        A symbol without its newest bars has the last close repeated, once the venue has had time to send them. Raises
        DataError when more than that is missing.
        """
        key = (needed, closed_at)
        if key not in self._panels:
            market = needed.market
            frame = self._continued(self._frame(needed, closed_at), market, closed_at, now)
            panel = panel_from_frame(frame, market.symbols, market.interval)
            if market.inputs.names:
                with Warehouse(self._main.file, timeout_s=5.0).read() as reader:
                    panel = with_inputs(reader, panel, market.inputs)
            self._panels[key] = panel
        return self._panels[key]

    def _frame(self, needed: Needed, closed_at: datetime) -> pl.DataFrame:
        if not self._own.file.is_file():
            raise DataError("no bars are known yet; " + (self.failure or "the feed has not been read"))
        start = needed.start(closed_at)
        bars = self._bars(needed.market.interval, start, closed_at)
        is_wanted = (pl.col("opened_at_utc") >= start) & (pl.col("closed_at_utc") <= closed_at)
        return bars.filter(is_wanted & pl.col("symbol").is_in(needed.market.symbols)).drop("closed_at_utc")

    def _bars(self, interval: Interval, start: datetime, closed_at: datetime) -> pl.DataFrame:
        """Return the bars of `interval` from `start` on at least, and what others want of them at `closed_at`."""
        known = self._derived.get(interval)
        if known is None or start < known.start:
            alike = (one.start(closed_at) for one in self._needed if one.market.interval is interval)
            first = Interval.D1.floor(min(start, *alike))
            known = self._derived[interval] = _Derived(first, self._derive(interval, first))
        return known.frame

    def _derive(self, interval: Interval, start: datetime) -> pl.DataFrame:
        """Return what the model `market.bars_all` makes of the bars from `start` on, with its own SQL."""
        intervals, bars_all = (_schema().models[name].sql for name in ("market.intervals", "market.bars_all"))
        bars = self._own.query("from market.bars where opened_at_utc >= $start", start=start)
        with duckdb.connect(":memory:") as connection:
            scratch = Writer(connection, self._own.file)
            connection.register("known", naive_frame(bars))
            scratch.execute("create schema market; create view market.bars as from known")
            scratch.execute(
                f"create table market.intervals as from ({intervals}) where interval = $interval",
                interval=interval.value,
            )
            return scratch.query(
                f"""
                select symbol, opened_at_utc, closed_at_utc, open, high, low, close, volume, is_filled
                from ({bars_all})
                """
            )

    def _continued(self, frame: pl.DataFrame, market: Market, closed_at: datetime, now: datetime) -> pl.DataFrame:
        """Return `frame` with the last close repeated where a symbol lacks its newest bars."""
        last_open = closed_at - market.interval.duration
        newest = {symbol: rows[-1:] for (symbol,), rows in frame.sort("opened_at_utc").group_by("symbol")}
        absent = [symbol for symbol in market.symbols if symbol not in newest]
        if absent:
            raise DataError(f"no {market.interval} bar of {', '.join(absent)} is known")
        parts = [frame]
        for symbol, row in newest.items():
            n_absent = (last_open - row["opened_at_utc"].item()) // market.interval.duration
            if n_absent == 0:
                continue
            known = f"{symbol} lacks its {n_absent} newest {market.interval} bars up to {closed_at:%F %R} UTC"
            waited_s = (now - closed_at).total_seconds()
            if waited_s < self._settings.settle_s + self._settings.poll_s:
                raise DataError(f"{known}; they may still come")
            if n_absent > self._settings.max_missing_bars:
                raise DataError(f"{known}, at most {self._settings.max_missing_bars} may be missing")
            parts += [_filled(row, (k + 1) * market.interval.duration) for k in range(n_absent)]
        if len(parts) > 1 and all(rows["opened_at_utc"].item() < last_open for rows in newest.values()):
            raise DataError(f"no symbol has its {market.interval} bar up to {closed_at:%F %R} UTC; the venue is late")
        return pl.concat(parts)


def _filled(row: pl.DataFrame, after: timedelta) -> pl.DataFrame:
    """Return the bar `after` a symbol's last one, in which nothing is known to have been traded."""
    close = pl.col("close")
    return row.with_columns(
        pl.col("opened_at_utc") + after,
        close.alias("open"),
        close.alias("high"),
        close.alias("low"),
        pl.lit(0.0).alias("volume"),
        pl.lit(True).alias("is_filled"),
    )
