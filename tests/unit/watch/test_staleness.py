from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from cappuccino.settings import MarketSettings, Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.watch.staleness import Staleness, staleness
from tests.unit.small_lab import add_study
from tests.unit.small_market import DAY, HOUR, MARKET, START, sync

END = START + DAY
SECOND = timedelta(seconds=1)


def of(warehouse: Warehouse, settings: Settings, now: datetime, market: MarketSettings = MARKET) -> Staleness:
    with warehouse.read() as reader:
        return staleness(reader, settings.model_copy(update={"market": market}), now)


def test_an_empty_warehouse_is_stale_in_everything(new_warehouse: Warehouse, settings: Settings) -> None:
    assert of(new_warehouse, settings, END) == Staleness(None, None, bars_are_stale=True, training_is_stale=True)


def test_bars_are_stale_two_intervals_and_the_grace_time_after_the_last_open(
    new_warehouse: Warehouse, settings: Settings
) -> None:
    sync(new_warehouse, START, END)
    limit = END + HOUR + timedelta(minutes=5)
    fresh = of(new_warehouse, settings, limit)
    assert (fresh.bars_known_until, fresh.bars_are_stale) == (END, False)
    assert of(new_warehouse, settings, limit + SECOND).bars_are_stale


def test_the_symbol_that_is_furthest_behind_counts(new_warehouse: Warehouse, settings: Settings) -> None:
    sync(new_warehouse, START, END)
    sync(new_warehouse, END, END + DAY, market=MARKET.model_copy(update={"symbols": ("BTC/USD",)}))
    found = of(new_warehouse, settings, END + DAY)
    assert (found.bars_known_until, found.bars_are_stale) == (END, True)
    only_btc = MARKET.model_copy(update={"symbols": ("BTC/USD",)})
    assert not of(new_warehouse, settings, END + DAY, only_btc).bars_are_stale


def test_a_symbol_without_any_bar_is_stale_however_fresh_the_others_are(
    new_warehouse: Warehouse, settings: Settings
) -> None:
    sync(new_warehouse, START, END)
    market = MARKET.model_copy(update={"symbols": (*MARKET.symbols, "LTC/USD")})
    found = of(new_warehouse, settings, END, market)
    assert (found.bars_known_until, found.bars_are_stale) == (None, True)


def test_training_is_stale_days_after_the_newest_bar_of_a_finished_study(
    new_warehouse: Warehouse, settings: Settings
) -> None:
    with new_warehouse.write() as writer:
        add_study(writer, "older", END - 3 * DAY, state="converged")
        add_study(writer, "newer", END)
    fresh = of(new_warehouse, settings, END + 7 * DAY)
    assert (fresh.trained_until, fresh.training_is_stale) == (END, False)
    assert of(new_warehouse, settings, END + 7 * DAY + SECOND).training_is_stale


@pytest.mark.parametrize(
    "changes", [{"kind": "timeframe"}, {"state": "running"}, {"state": "superseded"}], ids=lambda c: str(c)
)
def test_studies_that_trained_nobody_do_not_count(
    new_warehouse: Warehouse, settings: Settings, changes: dict[str, str]
) -> None:
    with new_warehouse.write() as writer:
        add_study(writer, "s", END, **changes)
    found = of(new_warehouse, settings, END)
    assert (found.trained_until, found.training_is_stale) == (None, True)
