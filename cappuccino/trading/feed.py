"""The one market feed of all accounts: bars in a warehouse of its own, and the quotes of now.

The trader waits for nobody: its bars lie in `feed.duckdb`, made by the same sync and the same SQL as those that models
were trained on, and only a start looks into the main warehouse to save questions to the venue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from cappuccino.errors import CappuccinoError, DataError, SourceError, WarehouseError
from cappuccino.market.inputs import with_inputs
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, panel_from_frame
from cappuccino.market.quotes import Quote, QuoteSource
from cappuccino.market.source import BarSource, RemoteSource
from cappuccino.market.sync import sync_bars
from cappuccino.portfolio.conditions import WINDOW_DAYS
from cappuccino.rl.agent import Market
from cappuccino.settings import MarketSettings, TraderSettings
from cappuccino.store.models import build
from cappuccino.store.schema import SQL_DIR, Schema
from cappuccino.store.warehouse import Warehouse

FILE = "feed.duckdb"
DERIVED = ("market.intervals", "market.bars_all")
SLACK = timedelta(days=2)
"""More than what is needed, so that a day without news asks for nothing twice."""


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
        self._own, self._main, self._source, self._quotes = Warehouse(folder / FILE), main, source, quotes
        self._settings = settings
        self._schema = Schema.load(SQL_DIR)
        self._since: datetime | None = None
        self._closes: dict[str, float] = {}
        self._known_until: datetime | None = None
        self._panels: dict[tuple[Market, datetime], BarPanel] = {}
        self.failure = ""

    @property
    def symbols(self) -> tuple[str, ...]:
        return self._market.symbols

    @property
    def closes(self) -> Mapping[str, float]:
        """Newest close of each symbol."""
        return self._closes

    @property
    def known_until(self) -> datetime | None:
        """Close of the newest bar of any symbol."""
        return self._known_until

    def drain(self) -> pl.DataFrame:
        """Return how the calls for quotes went since the last time; those for bars lie in its own file."""
        return self._source.drain() if isinstance(self._source, RemoteSource) else pl.DataFrame()

    def quotes(self) -> Mapping[str, Quote]:
        """Return the quotes of now, none when nobody answers."""
        try:
            return self._quotes.quotes(self.symbols)
        except (SourceError, DataError) as error:
            self.failure = str(error)
            return {}

    def update(self, needed: Iterable[Needed], now: datetime) -> None:
        """Fetch the bars that have closed by `now`, settling time past, and that are not known yet.

        Never raises for the source or the main warehouse: see `failure`.
        """
        now -= timedelta(seconds=self._settings.settle_s)
        starts = [one.start(now) for one in needed]
        if not starts:
            return
        start = Interval.D1.floor(min(starts))
        is_longer = self._since is None or start < self._since - SLACK
        newest = self._market.base_interval.floor(now)
        if not is_longer and self._known_until is not None and self._known_until >= newest and self._is_whole(newest):
            return
        if is_longer:
            if not self._own.file.is_file():
                self._own.migrate(self._schema)
                self._borrow(start)
            self._since = start
        self._fetch(self._since or start, now)

    def _is_whole(self, newest: datetime) -> bool:
        """Return whether every symbol has its bar that closed at `newest`."""
        return self._n_whole == newest

    _n_whole: datetime | None = None

    def _fetch(self, start: datetime, now: datetime) -> None:
        try:
            sync_bars(self._own, self._source, self._market, start, now, now, only_missing=True)
            self.failure = ""
        except CappuccinoError as error:
            self.failure = str(error)
        if self._own.file.is_file():
            self._derive()

    def _derive(self) -> None:
        with self._own.write() as writer:
            for name in DERIVED:
                build(writer, self._schema.models[name])
            newest = writer.query(
                """
                select symbol, max(closed_at_utc) as until, arg_max(close, opened_at_utc) as close
                from market.bars where list_contains($symbols, symbol) group by symbol
                """,
                symbols=list(self.symbols),
            )
        self._panels.clear()
        self._closes = dict(newest.select("symbol", "close").iter_rows())
        untils = newest["until"].to_list()
        self._known_until = max(untils, default=None)
        self._n_whole = min(untils) if len(untils) == len(self.symbols) else None

    def _borrow(self, start: datetime) -> None:
        """Copy what the main warehouse has from `start` on, if it is there and of the same kind."""
        if not self._main.file.is_file():
            return
        try:
            with Warehouse(self._main.file, timeout_s=5.0).read() as reader:
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
        except WarehouseError:
            return  # the venue has it all
        if bars.is_empty():
            return
        with self._own.write() as writer:
            writer.append("market.bars", bars)
            writer.append("ops.syncs", syncs)

    def panel(self, needed: Needed, closed_at: datetime, now: datetime) -> BarPanel:
        """Return the bars up to the one that closed at `closed_at`.

        A symbol without its newest bars has the last close repeated, once the venue has had time to send them. Raises
        DataError when more than that is missing.
        """
        key = (needed.market, closed_at)
        if key not in self._panels:
            frame = self._frame(needed, closed_at)
            panel = panel_from_frame(
                self._continued(frame, needed.market, closed_at, now), needed.market.symbols, needed.market.interval
            )
            if needed.market.inputs.names:
                with Warehouse(self._main.file, timeout_s=5.0).read() as reader:
                    panel = with_inputs(reader, panel, needed.market.inputs)
            self._panels[key] = panel
        return self._panels[key]

    def _frame(self, needed: Needed, closed_at: datetime) -> pl.DataFrame:
        if not self._own.file.is_file():
            raise DataError("no bars are known yet; " + (self.failure or "the feed has not been read"))
        with self._own.read() as reader:
            return reader.query(
                """
                select symbol, opened_at_utc, open, high, low, close, volume, is_filled
                from market.bars_all
                where interval = $interval and closed_at_utc <= $until and opened_at_utc >= $start
                    and list_contains($symbols, symbol)
                """,
                interval=needed.market.interval.value,
                until=closed_at,
                start=needed.start(closed_at),
                symbols=list(needed.market.symbols),
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
