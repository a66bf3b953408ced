"""Who is at the desk, as the warehouse says, and what happens when it cannot be asked."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from cappuccino.errors import WarehouseBusy, WarehouseError
from cappuccino.market.interval import DAY
from cappuccino.registry import moves
from cappuccino.registry.artifacts import folder_of
from cappuccino.registry.identity import ModelId
from cappuccino.registry.record import decide
from cappuccino.settings import Settings
from cappuccino.store import locks
from cappuccino.store.warehouse import Warehouse
from cappuccino.trading import roster
from cappuccino.trading.roster import Models, Place, read_roster
from tests.unit.small_lab import MODEL, add_one_model, save_model
from tests.unit.small_market import END
from tests.unit.trading.small_desk import HOUR, make_desk
from tests.unit.trading.small_desk import MODEL as AT_DESK

CAME = END - 3 * DAY


def _move(warehouse: Warehouse, name: str, at: datetime) -> None:
    decide(warehouse, lambda book: getattr(moves, name)(book, MODEL, at, "a test"))


@pytest.fixture
def desk(new_warehouse: Warehouse, small_settings: Settings) -> Warehouse:
    """A warehouse in which the model has come as far as the sandbox."""
    add_one_model(new_warehouse, small_settings.artifacts)
    _move(new_warehouse, "enter", CAME - DAY)
    _move(new_warehouse, "promote", CAME)
    return new_warehouse


def test_whoever_is_in_the_arena_is_not_at_the_desk(new_warehouse: Warehouse, small_settings: Settings) -> None:
    add_one_model(new_warehouse, small_settings.artifacts)
    _move(new_warehouse, "enter", CAME)
    assert read_roster(small_settings).places == ()


def test_a_model_is_at_the_desk_since_it_came_to_the_sandbox(desk: Warehouse, small_settings: Settings) -> None:
    assert read_roster(small_settings).places == (Place(MODEL, "sandbox", CAME),)
    _move(desk, "promote", CAME + DAY)
    assert read_roster(small_settings).places == (Place(MODEL, "production", CAME),)


def test_a_warehouse_that_is_not_there_or_busy_is_an_error_soon(
    desk: Warehouse, small_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster, "BRIEFLY_S", 0.05)
    with locks.held(desk.file, exclusive=True, timeout_s=1.0), pytest.raises(WarehouseBusy):
        read_roster(small_settings)
    desk.file.unlink()
    with pytest.raises(WarehouseError, match="no warehouse at"):
        read_roster(small_settings)


def test_while_the_warehouse_is_locked_the_same_go_on_and_it_is_said_once(tmp_path: Path) -> None:
    desk = make_desk(tmp_path, risk={"conviction": {"min_score": 0.0}})
    with desk.trader() as trader:
        trader.poll()
        known = desk.places.copy()
        desk.places.clear()
        trader._staff._read_roster = _locked  # type: ignore[assignment]
        for _ in range(3):
            desk.clock.sleep(HOUR.total_seconds())
            trader.poll()
        assert set(trader.floor.accounts) == {str(AT_DESK)}
        assert len(trader.floor.ledger.rows("select * from decisions where kind = 'bar'")) == 4
        assert [alert.key for alert in desk.said] == ["warehouse"]
        desk.places += known
    with desk.trader() as again:
        again.poll()
    assert [alert.is_resolved for alert in desk.said] == [False, True]


def _locked() -> None:
    raise WarehouseBusy("the warehouse is held by process 1")


def test_a_model_is_loaded_once_and_forgotten_when_it_has_left(small_settings: Settings) -> None:
    save_model(small_settings.artifacts, MODEL, CAME)
    models = Models(small_settings.artifacts)
    first = models.get(MODEL)
    assert first is not None
    assert models.get(MODEL) is first
    models.keep(set())
    assert models.get(MODEL) is not first


def test_a_damaged_model_is_told_and_tried_again(small_settings: Settings) -> None:
    models, lost = Models(small_settings.artifacts), ModelId("gone", 1)
    assert models.get(lost) is None
    assert "gone/1" in models.failures[lost]
    save_model(small_settings.artifacts, lost, CAME)
    assert models.get(lost) is not None
    assert not models.failures


def test_weights_that_were_tampered_with_are_not_traded_on(small_settings: Settings) -> None:
    save_model(small_settings.artifacts, MODEL, CAME)
    (weights,) = (file for file in folder_of(small_settings.artifacts, MODEL).iterdir() if file.name != "manifest.json")
    stored = bytearray(weights.read_bytes())
    stored[len(stored) // 2] ^= 0xFF
    weights.write_bytes(stored)
    models = Models(small_settings.artifacts)
    assert models.get(MODEL) is None
    assert models.failures[MODEL]
