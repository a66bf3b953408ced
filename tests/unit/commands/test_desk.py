"""What the trader does, told from its ledger, and from the warehouse where there is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cappuccino.settings import load
from cappuccino.store.warehouse import Warehouse
from cappuccino.trading.explain import Effect, Explanation
from cappuccino.trading.ledger import to_us
from cappuccino.trading.mirror import mirror
from tests.unit.small_market import SCHEMA
from tests.unit.trading.small_ledger import (
    HOUR,
    T0,
    account_row,
    ledger_with,
    live_an_hour,
    order_row,
    position_row,
    put,
)

WHY = Explanation({"BTC/USD": 0.5, "ETH/USD": -1.0}, (Effect("rsi_14", {"BTC/USD": 0.31, "ETH/USD": 0.0}),))


@pytest.fixture(scope="module")
def traded(tmp_path_factory) -> Path:
    """A warehouse folder with a ledger: an order that was filled, one under way, one account that is closed."""
    folder = tmp_path_factory.mktemp("traded")
    settings = load(None, {"warehouse": folder})
    warehouse = Warehouse(settings.database)
    warehouse.migrate(SCHEMA)
    ledger = ledger_with(settings.desk, account_row("s/1"), account_row("s/9", closed_us=to_us(T0)))
    live_an_hour(ledger, "s/1", T0, 1_050.0)
    with ledger.write() as entry:
        entry.update("decisions", {"decision": "s/1@26T0000"}, explanation=WHY.to_json())
        entry.update("orders", {"client_id": "order-s/1-26T00"}, rules=64 + 8192)
        put(entry, "orders", order_row("other", "s/1", T0 + HOUR, state="working", side=-1, symbol="ETH/USD"))
        put(entry, "positions", position_row("s/1", "ETH/USD", units=0.0), position_row("s/9"))
    ledger.close()
    mirror(warehouse, settings, T0 + HOUR)
    return folder


@pytest.fixture(params=["ledger", "warehouse"])
def folder(request, traded, tmp_path) -> Path:
    """The same facts, once with the ledger and once without it."""
    copy = tmp_path / "warehouse"
    shutil.copytree(traded, copy)
    if request.param == "warehouse":
        shutil.rmtree(copy / "desk")
    return copy


def asked(cappuccino, folder: Path, *arguments: str):
    done = cappuccino(*arguments, "--json", "--warehouse", folder)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_positions_tell_what_is_held_and_how_far_the_stop_is(cappuccino, folder):
    found = asked(cappuccino, folder, "positions")
    (account,) = found["accounts"]
    assert (account["account"], account["model"], account["stage"]) == ("s/1", "s/1", "sandbox")
    assert account["value_usd"] == 1_050.0
    assert account["total_return_frac"] == pytest.approx(0.05)
    (held,) = found["positions"]
    assert (held["symbol"], held["units"], held["pnl_usd"]) == ("BTC/USD", 1.5, pytest.approx(3.0))
    # Bought at 100, sold at 10 % below that: from 102 it may fall by 12 of 102.
    assert held["to_stop_frac"] == pytest.approx(12 / 102)


def test_orders_tell_what_was_filled_and_what_it_cost(cappuccino, folder):
    newest, filled = asked(cappuccino, folder, "orders")
    assert (newest["client_id"], newest["side"], newest["state"], newest["price_usd"]) == (
        "other", "sell", "working", None,
    )  # fmt: skip
    assert (filled["units"], filled["filled_units"], filled["is_maker"]) == (1.5, 1.5, True)
    assert filled["price_usd"] == pytest.approx(100.2)
    # Two fills, 0.12 USD each, of 0.5 units at 99 and 1.0 at 102.
    assert filled["shortfall_bps"] == pytest.approx(0.24 / 151.5 * 1e4)


def test_orders_can_be_chosen(cappuccino, folder):
    assert [one["client_id"] for one in asked(cappuccino, folder, "orders", "--open")] == ["other"]
    assert [one["client_id"] for one in asked(cappuccino, folder, "orders", "--last", "1")] == ["other"]
    assert asked(cappuccino, folder, "orders", "--account", "s/9") == []


def test_why_tells_the_whole_story_of_an_order(cappuccino, folder):
    found = asked(cappuccino, folder, "why", "order-")
    assert found["order"]["client_id"] == "order-s/1-26T00"
    assert found["decision"]["targets"] == {"BTC/USD": 0.15, "ETH/USD": 0.0}
    assert found["rules"] == ["weight cap", "conviction"]
    assert found["explanation"]["effects"][0] == {"group": "rsi_14", "by_symbol": {"BTC/USD": 0.31, "ETH/USD": 0.0}}
    assert [vote["member_trial"] for vote in found["votes"]] == [1, 2]
    assert found["conviction"][0]["score"] == 0.8
    assert [event["state"] for event in found["events"]] == ["recorded", "working", "filled"]
    assert len(found["fills"]) == 2


def test_people_can_read_it(cappuccino, folder):
    told = cappuccino("why", "order-", "--warehouse", folder).stdout
    for words in ("buy 1.5 BTC/USD for s/1, wish", "rules that changed it: weight cap, conviction", "rsi_14", "Fills"):
        assert words in told
    assert "nothing was filled" in cappuccino("why", "other", "--warehouse", folder).stdout
    assert "BTC/USD" in cappuccino("positions", "--warehouse", folder).stdout
    assert "working" in cappuccino("orders", "--warehouse", folder).stdout


@pytest.mark.parametrize(("name", "words"), [("o", "2 orders begin with 'o'"), ("nobody", "no order begins with")])
def test_an_order_that_is_none_or_several_is_refused(cappuccino, folder, name, words):
    done = cappuccino("why", name, "--warehouse", folder)
    assert done.exit_code == 2
    assert words in done.stderr


def test_before_anything_was_traded_the_commands_say_so(cappuccino, first_day):
    assert "no account is open" in cappuccino("positions", "--warehouse", first_day).stdout
    assert "no order was made yet" in cappuccino("orders", "--warehouse", first_day).stdout
