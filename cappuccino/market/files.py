"""Bars that a user already has: a Parquet or CSV file, or a folder of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

import polars as pl

from cappuccino.clock import require_utc
from cappuccino.errors import DataError
from cappuccino.market.file_columns import CSV, PARQUET, reading, row_name, scan
from cappuccino.market.interval import Interval
from cappuccino.market.source import LOCAL_CHUNK_BARS, check_frame, check_range, empty_frame, utc_text

RUN_OF_ANOTHER_INTERVAL = 24
"""So many bars in a row at another interval are no gaps any more: the file mixes intervals."""

_BY_LENGTH = {interval.duration: interval for interval in Interval}


@dataclass(frozen=True)
class FileSource:
    """Bars of files, in the interval that they have; longer ones are derived in the warehouse.

    Needs columns open, high, low, close, volume and the time of the bar's open (`ts`, `timestamp`, `time`):
    with a zone, or in a column that ends in `_utc`, or as epoch seconds, milliseconds or microseconds. The
    symbol is a column, or the file's name (`BTC-USD.csv`). A file that changed is read anew.
    """

    path: Path
    name = "files"
    is_simulated = False
    chunk_bars = LOCAL_CHUNK_BARS

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols in the files, sorted."""
        return tuple(sorted({symbol for found in self._inventories() for symbol in found.symbols}))

    def span(self) -> tuple[datetime, datetime]:
        """Return (first open, close of the last bar) over all symbols."""
        found = self._inventories()
        return min(f.first for f in found), max(f.last for f in found) + found[0].interval.duration

    def interval(self) -> Interval:
        """Return the interval of the bars in the files."""
        return self._inventories()[0].interval

    def bars(self, symbols: tuple[str, ...], interval: Interval, start: datetime, stop: datetime) -> pl.DataFrame:
        """Return the bars that opened in [start, stop).

        Raises DataError, naming the file, when it has other symbols or another interval, or when bars in the
        range are bad.
        """
        start, stop = check_range(start, stop)
        self._refuse_other_interval(interval)
        self._refuse_unknown(symbols)
        wanted = pl.col("symbol").is_in(symbols) & (pl.col("opened_at_utc") >= start) & (pl.col("opened_at_utc") < stop)
        frames = [_load(found.file, wanted, interval) for found in self._inventories()]
        if len(frames) == 1:
            return frames[0]
        together = pl.concat([empty_frame(), *frames]).sort("symbol", "opened_at_utc")
        return check_frame(together, interval, f"{self.path} (all files together)")

    def _inventories(self) -> list[_Inventory]:
        inventories = [_inspect(file, file.stat().st_mtime_ns, file.stat().st_size) for file in _files(self.path)]
        if len({found.interval for found in inventories}) > 1:
            listed = ", ".join(f"{found.file.name} {found.interval}" for found in inventories)
            raise DataError(f"{self.path} mixes intervals: {listed}; keep one interval in the folder")
        return inventories

    def _refuse_other_interval(self, interval: Interval) -> None:
        own = self.interval()
        if own != interval:
            raise DataError(
                f"{self.path} holds {own} bars, not {interval}; set market.base_interval = '{own}' "
                "(longer intervals are derived from it)"
            )

    def _refuse_unknown(self, symbols: tuple[str, ...]) -> None:
        known = self.symbols()
        unknown = [symbol for symbol in symbols if symbol not in known]
        if unknown:
            raise DataError(
                f"{self.path} has no {', '.join(unknown)}; it has {', '.join(known)}. "
                "Set market.symbols to names of the file"
            )


@dataclass(frozen=True)
class _Inventory:
    """What one file holds."""

    file: Path
    interval: Interval
    symbols: tuple[str, ...]
    first: datetime
    last: datetime


def _files(path: Path) -> list[Path]:
    if path.is_file():
        if path.suffix.lower() not in (*PARQUET, *CSV):
            raise DataError(f"{path} is neither .parquet nor .csv; convert it, or correct market.path")
        return [path]
    if not path.is_dir():
        raise DataError(f"{path} does not exist; correct market.path")
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in (*PARQUET, *CSV))
    if not files:
        raise DataError(f"folder {path} holds no .parquet or .csv file; correct market.path")
    return files


def _load(file: Path, wanted: pl.Expr, interval: Interval) -> pl.DataFrame:
    with reading(file):
        frame = scan(file).filter(wanted).collect()
    backwards = pl.col("opened_at_utc") < pl.col("opened_at_utc").shift(1).over("symbol")
    disordered = frame.filter(backwards)
    if len(disordered):
        bar = disordered.row(0, named=True)
        raise DataError(
            f"{file}: {bar['symbol']} at {utc_text(bar['opened_at_utc'])} comes after a later bar; "
            "sort the file by symbol and time"
        )
    return check_frame(frame.sort("symbol", "opened_at_utc"), interval, str(file))


@lru_cache(maxsize=256)
def _inspect(file: Path, modified_ns: int, size: int) -> _Inventory:
    """Return what is in the file; `modified_ns` and `size` make a changed file a new question."""
    del modified_ns, size
    with reading(file):
        times = scan(file).select("symbol", "opened_at_utc").collect()
    if times.is_empty():
        raise DataError(f"{file} has no bars; replace or remove the file")
    for name in times.columns:
        absent = times[name].is_null().arg_true()
        if len(absent):
            raise DataError(f"{row_name(file, absent[0])}: {name} is missing; correct or remove the line")
    times = times.sort("symbol", "opened_at_utc")
    first, last = times.select(first=pl.col("opened_at_utc").min(), last=pl.col("opened_at_utc").max()).row(0)
    symbols = tuple(times["symbol"].unique().sort())
    return _Inventory(file, _interval(times, file), symbols, require_utc(first), require_utc(last))


def _interval(times: pl.DataFrame, file: Path) -> Interval:
    """Return the interval of sorted bars: the step that is the most common one for each symbol."""
    steps = times.select(
        "symbol", step=pl.col("opened_at_utc") - pl.col("opened_at_utc").shift(1).over("symbol")
    ).filter(pl.col("step") > timedelta(0))
    counts = steps.group_by("symbol", "step").len().sort("symbol", "len", "step", descending=[False, True, False])
    usual = counts.group_by("symbol", maintain_order=True).first()
    lengths: list[timedelta] = usual["step"].unique().sort().to_list()
    if not lengths:
        raise DataError(f"{file} has only one bar of each symbol, so its interval is unknown; add more bars")
    unknown = [length for length in lengths if length not in _BY_LENGTH]
    if unknown:
        raise DataError(f"{file} has bars every {unknown[0]} (h:mm:ss); known intervals are {', '.join(Interval)}")
    others = set(lengths[1:]) | _long_runs(steps, lengths[0])
    if others:
        mixed = ", ".join(_BY_LENGTH[length] for length in sorted({lengths[0], *others}))
        raise DataError(f"{file} mixes intervals ({mixed}); keep one interval in a file")
    return _BY_LENGTH[lengths[0]]


def _long_runs(steps: pl.DataFrame, usual: timedelta) -> set[timedelta]:
    """Return the other intervals that a symbol keeps for so long that its holes cannot explain them."""
    runs = steps.group_by(pl.struct("symbol", "step").rle_id().alias("run")).agg(
        pl.col("step").first(), pl.len().alias("length")
    )
    long = runs.filter((pl.col("step") != usual) & (pl.col("length") >= RUN_OF_ANOTHER_INTERVAL))
    return {length for length in long["step"].unique().to_list() if length in _BY_LENGTH}
