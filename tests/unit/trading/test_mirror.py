"""The ledger in the warehouse: all of it, once, whatever happens in between."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cappuccino.errors import LedgerError
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.trading.ledger import FILE, Ledger, to_us
from cappuccino.trading.ledger_frames import desk_table, ledger_at
from cappuccino.trading.ledger_schema import MIRRORED
from cappuccino.trading.mirror import is_behind, mirror
from tests.unit.small_market import SCHEMA
from tests.unit.trading.small_ledger import (
    HOUR,
    T0,
    account_row,
    decision_row,
    equity_row,
    event_row,
    fill_row,
    ledger_with,
    live_an_hour,
    look_row,
    order_row,
    put,
    vote_rows,
)

TABLES = tuple(desk_table(name) for name in MIRRORED if name != "votes")
ALL = (*TABLES, "desk.accounts", "desk.equity", "desk.fills", "desk.votes", "desk.mirrors")


def table(warehouse: Warehouse, name: str) -> pl.DataFrame:
    return warehouse.query(f"from {name} order by all")


@pytest.fixture
def ledger(small_settings: Settings) -> Iterator[Ledger]:
    made = ledger_with(small_settings.desk, account_row("s/1"))
    yield made
    made.close()


def test_without_a_ledger_there_is_nothing_to_do(new_warehouse: Warehouse, small_settings: Settings) -> None:
    assert mirror(new_warehouse, small_settings, T0) is None
    small_settings.desk.mkdir()
    (small_settings.desk / FILE).touch()  # the trader was killed before its first write
    assert mirror(new_warehouse, small_settings, T0) is None


@pytest.mark.parametrize("spoilt", [b"no ledger at all " * 400, None])
def test_a_damaged_ledger_is_an_error_that_names_it(
    new_warehouse: Warehouse, small_settings: Settings, ledger: Ledger, spoilt: bytes | None
) -> None:
    for n in range(40):
        live_an_hour(ledger, "s/1", T0 + n * HOUR)
    ledger.rows("pragma wal_checkpoint(truncate)")
    file = small_settings.desk / FILE
    whole = file.read_bytes()
    file.write_bytes(spoilt or whole[:8192] + b"\xff" * (len(whole) - 8192))
    with pytest.raises(LedgerError, match=r"ledger .*ledger\.sqlite cannot be (opened|read)"):
        mirror(new_warehouse, small_settings, T0)
    assert table(new_warehouse, "desk.mirrors").is_empty()


def test_every_column_of_the_ledger_has_its_place(
    new_warehouse: Warehouse, small_settings: Settings, ledger: Ledger
) -> None:
    live_an_hour(ledger, "s/1", T0)
    with ledger.write() as entry:
        put(entry, "events", {"at_us": to_us(T0), "account": "", "kind": "stale", "symbol": "", "detail": "old"})
        alert = {"key": "k", "at_us": to_us(T0), "severity": "warning", "message": "m", "is_resolved": 0}
        put(entry, "alerts", alert)
        call = {"source": "alpaca", "endpoint": "orders", "outcome": "ok", "calls": 3, "share_frac": 1.0}
        put(entry, "calls", call | {"at_us": to_us(T0), "waited_s": 0.0, "example": ""})
        tier = {"broker": "coinbase", "name": "one", "maker_frac": "0.004", "taker_frac": "0.006", "volume_usd": "1e3"}
        put(entry, "fee_tiers", tier | {"at_us": to_us(T0)})
    done = mirror(new_warehouse, small_settings, T0)
    assert done is not None
    assert set(done.n_rows) == set(MIRRORED)
    for name in MIRRORED:
        if name != "votes":
            (n_rows,) = ledger.rows(f"select count(*) from {name}")[0]
            assert len(table(new_warehouse, desk_table(name))) == n_rows, name
    (tier_row,) = table(new_warehouse, "desk.fee_tiers").iter_rows(named=True)
    assert (tier_row["maker_frac"], tier_row["volume_usd"], tier_row["at_utc"]) == (0.004, 1_000.0, T0)
    (order,) = table(new_warehouse, "desk.orders").iter_rows(named=True)
    assert (order["units"], order["limit_usd"], order["is_maker"], order["state"]) == (1.5, None, True, "filled")
    fills = table(new_warehouse, "desk.order_fills")
    assert fills["maker_target_frac"].unique().to_list() == [0.7]
    with new_warehouse.read() as reader:
        for name in (*ALL, "desk.maker_share", "desk.open_orders", "desk.error_rates", "desk.trading_now"):
            file = (SCHEMA.contracts | SCHEMA.models)[name]
            failed = [test.name for test in file.tests if len(reader.query(test.failing_sql))]
            assert failed == [], name


@contextmanager
def killed_at(warehouse: Warehouse, nth: int) -> Iterator[None]:
    """Let the `nth` transaction from here on die right before it is stored."""
    begun = 0
    write = warehouse.write

    @contextmanager
    def dying():
        nonlocal begun
        begun += 1
        with write() as writer:
            yield writer
            if begun == nth:
                raise KeyboardInterrupt

    warehouse.write = dying  # type: ignore[method-assign]
    try:
        yield
    finally:
        del warehouse.write


@pytest.mark.parametrize(("looks", "chunk_rows"), [({0}, 12), (set(), 7)])
def test_however_often_it_is_looked_at_and_killed_every_row_is_there_once(
    looks: set[int], chunk_rows: int, new_warehouse: Warehouse, small_settings: Settings, first_file: Path
) -> None:
    whole = Warehouse(Path(shutil.copy(first_file, small_settings.warehouse / "whole.duckdb")))
    ledger = ledger_with(small_settings.desk, account_row("s/1"), account_row("s/2"))
    for n in range(3):
        live_an_hour(ledger, f"s/{1 + n % 2}", T0 + n * HOUR, 1_000.0 + n)
        if n in looks:
            mirror(new_warehouse, small_settings, T0, chunk_rows)
    n_deaths, is_done = 0, False
    while not is_done:  # each life stores one transaction and dies in the next
        try:
            with killed_at(new_warehouse, 2):
                mirror(new_warehouse, small_settings, T0, chunk_rows)
            is_done = True
        except KeyboardInterrupt:
            n_deaths += 1
    assert n_deaths > 1
    mirror(whole, small_settings, T0)
    for name in ALL:
        assert_frame_equal(table(new_warehouse, name), table(whole, name), check_exact=True)
    with new_warehouse.read() as reader:
        assert not is_behind(reader, ledger)
    ledger.close()


def test_only_what_is_new_is_read(new_warehouse: Warehouse, small_settings: Settings, ledger: Ledger) -> None:
    client_id = live_an_hour(ledger, "s/1", T0)
    first = mirror(new_warehouse, small_settings, T0)
    assert first is not None
    assert first.n_rows["orders"] == 1
    again = mirror(new_warehouse, small_settings, T0)
    assert again is not None
    assert (again.version, dict(again.n_rows)) == (first.version, {})
    with ledger.write() as entry:
        entry.update("orders", {"client_id": client_id}, reason="late")
    with new_warehouse.read() as reader:
        assert is_behind(reader, ledger)
    last = mirror(new_warehouse, small_settings, T0)
    assert last is not None
    assert dict(last.n_rows) == {"orders": 1}
    assert table(new_warehouse, "desk.orders")["reason"].to_list() == ["late"]


def test_two_that_copy_at_once_store_every_row_once(
    new_warehouse: Warehouse, small_settings: Settings, ledger: Ledger
) -> None:
    live_an_hour(ledger, "s/1", T0)
    write = new_warehouse.write
    other = Warehouse(new_warehouse.file)

    @contextmanager
    def overtaken():
        mirror(other, small_settings, T0)
        with write() as writer:
            yield writer

    new_warehouse.write = overtaken  # type: ignore[method-assign]
    mirror(new_warehouse, small_settings, T0)
    del new_warehouse.write
    assert len(table(new_warehouse, "desk.order_events")) == 3
    assert len(table(new_warehouse, "desk.heartbeats")) == 1


def test_a_ledger_that_came_back_from_a_backup_doubles_nothing(
    new_warehouse: Warehouse, small_settings: Settings, ledger: Ledger
) -> None:
    live_an_hour(ledger, "s/1", T0)
    ledger.rows("pragma wal_checkpoint(truncate)")
    backup = (small_settings.desk / FILE).read_bytes()
    live_an_hour(ledger, "s/1", T0 + HOUR)
    mirror(new_warehouse, small_settings, T0)
    ledger.close()
    (small_settings.desk / FILE).write_bytes(backup)
    restored = Ledger(small_settings.desk)
    mirror(new_warehouse, small_settings, T0)
    live_an_hour(restored, "s/1", T0 + 2 * HOUR)
    mirror(new_warehouse, small_settings, T0)
    restored.close()
    assert len(table(new_warehouse, "desk.order_events")) == 9
    assert len(table(new_warehouse, "desk.orders")) == 3


def test_what_is_gone_from_the_ledger_stays_in_the_warehouse(
    new_warehouse: Warehouse, small_settings: Settings, ledger: Ledger
) -> None:
    live_an_hour(ledger, "s/1", T0)
    mirror(new_warehouse, small_settings, T0)
    with ledger.write() as entry:
        entry.delete_before("looks", "at_us", to_us(T0 + 9 * HOUR))
    mirror(new_warehouse, small_settings, T0)
    assert len(table(new_warehouse, "desk.looks")) == 1


# What verdicts and reports read


def test_a_models_account_bars_fills_and_votes_are_where_verdicts_look(
    new_warehouse: Warehouse, small_settings: Settings, ledger: Ledger
) -> None:
    live_an_hour(ledger, "s/1", T0, 1_010.0)
    with ledger.write() as entry:
        put(entry, "accounts", account_row("s/1", decided_us=to_us(T0), marked_us=to_us(T0 + HOUR)))
    mirror(new_warehouse, small_settings, T0)
    (account,) = table(new_warehouse, "desk.accounts").iter_rows(named=True)
    assert (account["study"], account["trial"], account["kept_by"]) == ("s", 1, "trader")
    assert (account["opened_at_utc"], account["traded_until_utc"]) == (T0, T0 + HOUR)
    assert json.loads(account["state"])["cash_usd"] == account["cash_usd"] == 1_000.0
    (bar,) = table(new_warehouse, "desk.equity").iter_rows(named=True)
    assert (bar["closed_at_utc"], bar["stage"], bar["value_usd"]) == (T0 + HOUR, "sandbox", 1_010.0)
    # 0.5 units at 99 and 1.0 at 102 at one moment are one fill: 151.5 USD for 1.5 units.
    (fill,) = table(new_warehouse, "desk.fills").iter_rows(named=True)
    assert (fill["units"], fill["price_usd"], fill["fee_usd"]) == (1.5, pytest.approx(101.0), pytest.approx(0.2))
    votes = table(new_warehouse, "desk.votes")
    assert votes["closed_at_utc"].unique().to_list() == [T0]
    assert votes.filter(pl.col("symbol") == "BTC/USD")["vote"].to_list() == [0.5, 1.0]


def test_parts_of_a_fill_that_come_one_after_the_other_are_one(
    new_warehouse: Warehouse, small_settings: Settings, ledger: Ledger
) -> None:
    for n, units in enumerate((1.0, 3.0)):
        with ledger.write() as entry:
            put(entry, "fills", fill_row(f"a:{n}", "s/1", T0 + HOUR, units, price_usd=100.0 + 4 * n))
        mirror(new_warehouse, small_settings, T0)
    (fill,) = table(new_warehouse, "desk.fills").iter_rows(named=True)
    assert (fill["units"], fill["price_usd"]) == (4.0, 103.0)


def test_what_was_bought_and_sold_again_at_once_is_no_fill_of_the_model(
    new_warehouse: Warehouse, small_settings: Settings, ledger: Ledger
) -> None:
    with ledger.write() as entry:
        put(entry, "fills", *(fill_row(f"{u}", "s/1", T0 + HOUR, u) for u in (1.0, -1.0)))
    mirror(new_warehouse, small_settings, T0)
    assert len(table(new_warehouse, "desk.order_fills")) == 2
    assert table(new_warehouse, "desk.fills").is_empty()


def test_of_two_accounts_of_a_model_the_real_one_counts_while_it_is_open(
    new_warehouse: Warehouse, small_settings: Settings, ledger: Ledger
) -> None:
    real = {"study": "s", "trial": 1, "stage": "live", "broker": "coinbase", "opened_us": to_us(T0 + 2 * HOUR)}
    with ledger.write() as entry:
        put(entry, "accounts", account_row("coinbase", **real, closed_us=to_us(T0 + 4 * HOUR)))
        for n in range(1, 6):
            at = T0 + n * HOUR
            put(entry, "equity", equity_row("s/1", at, 1_000.0))
            put(entry, "fills", fill_row(f"v{n}", "s/1", at))
            put(entry, "decisions", decision_row("s/1", at))
            put(entry, "votes", *vote_rows(f"s/1@{at:%dT%H%M}"))
            if 2 < n < 5:
                mine = {"study": "s", "trial": 1}
                put(entry, "equity", equity_row("coinbase", at, 50.0, stage="live", **mine))
                put(entry, "fills", fill_row(f"r{n}", "coinbase", at, 2.0, **mine))
                put(entry, "decisions", decision_row("coinbase", at, **mine))
    mirror(new_warehouse, small_settings, T0)
    equity = table(new_warehouse, "desk.equity")
    assert equity["stage"].to_list() == ["sandbox", "sandbox", "live", "live", "sandbox"]
    assert equity["value_usd"].to_list() == [1_000.0, 1_000.0, 50.0, 50.0, 1_000.0]
    assert table(new_warehouse, "desk.fills")["units"].to_list() == [1.0, 1.0, 2.0, 2.0, 1.0]
    assert table(new_warehouse, "desk.votes")["closed_at_utc"].n_unique() == 3
    (account,) = table(new_warehouse, "desk.accounts").iter_rows(named=True)
    assert (account["opened_at_utc"], account["kept_by"]) == (T0, "trader")
    assert len(table(new_warehouse, "desk.trader_equity")) == 7


def test_in_production_the_virtual_account_counts_and_not_the_venues(
    new_warehouse: Warehouse, small_settings: Settings, ledger: Ledger
) -> None:
    """So a record goes on through a promotion, and verdicts compare like with like."""
    venue = {"study": "s", "trial": 1, "stage": "production"}
    with ledger.write() as entry:
        put(entry, "accounts", account_row("s/1", stage="production"))
        put(entry, "accounts", account_row("alpaca", **venue, broker="alpaca", opened_us=to_us(T0 + HOUR)))
        put(entry, "equity", equity_row("alpaca", T0 + 2 * HOUR, 77.0, **venue), equity_row("s/1", T0 + 2 * HOUR))
    mirror(new_warehouse, small_settings, T0)
    assert table(new_warehouse, "desk.equity")["value_usd"].to_list() == [1_000.0]
    assert table(new_warehouse, "desk.accounts")["opened_at_utc"].to_list() == [T0]


def test_the_desk_takes_over_whom_the_trader_has_let_go(
    new_warehouse: Warehouse, small_settings: Settings, ledger: Ledger
) -> None:
    with ledger.write() as entry:
        put(entry, "accounts", account_row("s/2"), account_row("alpaca", study="s", trial=3, broker="alpaca"))
    mirror(new_warehouse, small_settings, T0)
    with ledger.write() as entry:
        put(entry, "accounts", account_row("s/2", closed_us=to_us(T0 + HOUR)))
        put(entry, "accounts", account_row("alpaca", study="s", trial=4, broker="alpaca"))
    mirror(new_warehouse, small_settings, T0)
    kept = dict(table(new_warehouse, "desk.accounts").select("trial", "kept_by").iter_rows())
    assert kept == {1: "trader", 2: "desk", 3: "desk", 4: "trader"}


def test_the_newest_state_of_an_order_is_what_open_orders_show(
    new_warehouse: Warehouse, small_settings: Settings, ledger: Ledger
) -> None:
    with ledger.write() as entry:
        put(entry, "orders", order_row("a", "s/1", T0), order_row("b", "s/1", T0, side=-1))
        put(entry, "order_events", event_row("a", T0, "recorded"))
        put(entry, "looks", look_row("s/1", T0 + timedelta(minutes=1)))
    mirror(new_warehouse, small_settings, T0)
    assert len(table(new_warehouse, "desk.open_orders")) == 2
    with ledger.write() as entry:
        entry.update("orders", {"client_id": "a"}, state="denied")
    mirror(new_warehouse, small_settings, T0)
    (waiting,) = table(new_warehouse, "desk.open_orders").iter_rows(named=True)
    assert (waiting["client_id"], waiting["side"]) == ("b", "sell")
    (now,) = table(new_warehouse, "desk.trading_now").iter_rows(named=True)
    assert (now["n_open_orders"], now["value_usd"]) == (1, 1_000.0)


def test_a_reader_sees_one_moment_while_the_trader_writes_on(small_settings: Settings, ledger: Ledger) -> None:
    with ledger_at(small_settings.desk) as seen:
        assert seen is not None
        before = seen.version
        live_an_hour(ledger, "s/1", T0)
        assert seen.version == before
        assert seen.rows("select * from orders") == []
        with pytest.raises(LedgerError, match="readonly"):
            seen.rows("delete from accounts")


def test_nothing_but_a_ledger_is_made_a_ledger(small_settings: Settings) -> None:
    with ledger_at(small_settings.desk) as seen:
        assert seen is None
    assert not small_settings.desk.exists()
