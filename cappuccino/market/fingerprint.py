"""What stands for the bars of a range: equal bars, equal fingerprint, whenever and wherever it is taken."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from cappuccino.store.warehouse import Reader


def bars_fingerprint(reader: Reader, symbols: Iterable[str], start: datetime, stop: datetime) -> str:
    """Return the fingerprint of the base bars of `symbols` that opened in [start, stop), as market.bars_all has them.

    Taken from there because features and studies are made from it: where it lags behind market.bars, so does their
    fingerprint, and ops.data_seen calls them out of date. Absent bars count, filled ones do not; the order of symbols
    is of no matter.
    """
    row = reader.one(
        """
        with totals as (
            select symbol, count(*) as n_bars, sum(fingerprint) as total
            from market.fingerprints
            where is_derived and opened_at_utc >= $start and opened_at_utc < $stop and list_contains($symbols, symbol)
            group by symbol
        )

        select md5(coalesce(string_agg(concat_ws(' ', symbol, n_bars, total), ',' order by symbol), '')) from totals
        """,
        start=start,
        stop=stop,
        symbols=list(symbols),
    )
    assert row is not None  # an aggregate without groups has one row
    return str(row[0])
