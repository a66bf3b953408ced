"""Order books: what is wanted and offered now, for features that name them."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.tables import described, table_spec
from cappuccino.clock import Clock
from cappuccino.market.book import TABLE, BookSource, record_books
from cappuccino.market.book_sources import book_source_of
from cappuccino.market.source import BarSource
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse


@dg.multi_asset(name="market_books", specs=[table_spec(TABLE, deps=("market.bars",))], pool="warehouse")
def market_books(
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    source: dg.ResourceParam[BarSource],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[None]:
    """One book of each symbol as it stands now, added to those seen before; nothing where no feature asks for it.

    Within a run it waits for the checks of the bars: who does not trust a source's bars has no use for its books.
    """
    books = book_source_of(source, clock)
    why_not = reason_not_to_record(settings, source, books)
    recorded = 0 if why_not or not books else record_books(warehouse, books, settings.market.symbols, clock.now())
    told: Mapping[str, Any] = {"skipped": why_not} if why_not else {}
    return dg.MaterializeResult(metadata={"books_recorded": recorded, **told, **described(warehouse, TABLE)})


def reason_not_to_record(settings: Settings, source: BarSource, books: BookSource | None) -> str:
    """Return why nothing is to be recorded; empty when it is."""
    if "book_imbalance" not in settings.features.inputs:
        return "book_imbalance is not among features.inputs; add it to record order books"
    return "" if books else f"source {source.name} has no order books"
