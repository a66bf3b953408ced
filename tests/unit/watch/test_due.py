"""What is due at a moment, and that nothing is on stale bars."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from cappuccino.errors import StaleData
from cappuccino.registry.identity import ModelId
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.watch.due import Due, arena_due, require_fresh, trading_due, training_due
from tests.unit.small_lab import add_study, add_trial
from tests.unit.small_market import DAY, HOUR, MARKET, START, sync

END = START + DAY
STALE = END + HOUR + timedelta(minutes=6)


@pytest.fixture
def market_settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"market": MARKET})


def ask(rule: object, warehouse: Warehouse, settings: Settings, now: datetime) -> Due:
    with warehouse.read() as reader:
        return rule(reader, settings, now)  # type: ignore[operator, no-any-return]


def test_trading_is_due_when_bars_are_stale_and_says_how_far_they_reach(
    new_warehouse: Warehouse, market_settings: Settings
) -> None:
    empty = ask(trading_due, new_warehouse, market_settings, END)
    assert (empty.is_due, empty.since) == (True, None)
    sync(new_warehouse, START, END)
    assert not ask(trading_due, new_warehouse, market_settings, END).is_due
    stale = ask(trading_due, new_warehouse, market_settings, STALE)
    assert stale == Due(True, "bars are known until 2025-03-02 00:00 UTC", END)


def test_training_waits_for_fresh_bars(new_warehouse: Warehouse, market_settings: Settings) -> None:
    sync(new_warehouse, START, END)
    assert ask(training_due, new_warehouse, market_settings, END).is_due
    waiting = ask(training_due, new_warehouse, market_settings, STALE)
    assert (waiting.is_due, waiting.reason) == (False, "bars are stale; they have to be synced first")


def test_training_is_due_again_when_its_data_are_old(new_warehouse: Warehouse, market_settings: Settings) -> None:
    sync(new_warehouse, START, START + 20 * DAY)
    with new_warehouse.write() as writer:
        add_study(writer, "studied", END)
    assert not ask(training_due, new_warehouse, market_settings, END + 7 * DAY).is_due
    assert ask(training_due, new_warehouse, market_settings, END + 7 * DAY + HOUR).since == END


def test_the_arena_is_due_while_a_completed_trial_has_not_entered(
    new_warehouse: Warehouse, market_settings: Settings
) -> None:
    sync(new_warehouse, START, END)
    assert not ask(arena_due, new_warehouse, market_settings, END).is_due
    with new_warehouse.write() as writer:
        add_study(writer, "studied", END)
        add_trial(writer, ModelId("studied", 0))
    assert ask(arena_due, new_warehouse, market_settings, END).reason == "1 candidates wait before the arena"
    assert not ask(arena_due, new_warehouse, market_settings, STALE).is_due


def test_nothing_is_decided_on_stale_bars_and_the_refusal_says_what_to_do(
    new_warehouse: Warehouse, market_settings: Settings
) -> None:
    sync(new_warehouse, START, END)
    with new_warehouse.read() as reader:
        require_fresh(reader, market_settings, END, "training")
        with pytest.raises(StaleData, match=r"no promotion on stale data.*until 2025-03-02 00:00 UTC.*bars sync"):
            require_fresh(reader, market_settings, STALE, "promotion")
