from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from torch import Tensor

from cappuccino.errors import ContractError, DataError
from cappuccino.market.inputs import NO_INPUTS
from cappuccino.market.interval import Interval
from cappuccino.market.panel import PRICE_COLUMNS, BarPanel, as_datetime, as_datetime64
from cappuccino.portfolio.account import Accounts, open_accounts
from cappuccino.registry import moves
from cappuccino.registry.artifacts import folder_of
from cappuccino.registry.identity import ModelId
from cappuccino.registry.record import decide
from cappuccino.registry.stages import Decision, StageBook
from cappuccino.risk.rules import Rules
from cappuccino.rl.agent import Market
from cappuccino.settings import CostSettings, RiskSettings, Settings
from cappuccino.store.models import run_tests
from cappuccino.store.warehouse import Warehouse
from cappuccino.trading.succession import Changes
from cappuccino.trading.system import Desk, catch_up, trade_system
from cappuccino.trading.system_account import SystemAccount, SystemTraded, read_system
from tests.unit.small_lab import replace_production, save_model
from tests.unit.small_market import DAY, END, HOUR, SCHEMA, START, SYMBOLS

A, B, SLOW = ModelId("s", 1), ModelId("s", 2), ModelId("s", 4)
RULES = Rules.of(RiskSettings(), CostSettings())
ONE_PERCENT = Rules.of(RiskSettings(), CostSettings(fee_bps=100, slippage_bps=0, min_order_usd=1)).without_protection()


def at(hour: float) -> datetime:
    return START + hour * HOUR


Weights = Callable[[BarPanel, int, Accounts], Tensor]


@dataclass
class FakeTrader:
    """Trades by a rule; remembers when it was asked."""

    weights: Weights
    interval: Interval = Interval.H1
    symbols: tuple[str, ...] = SYMBOLS
    history_bars: int = 3
    asked: list[datetime] = field(default_factory=list)

    @property
    def market(self) -> Market:
        return Market(self.interval, self.symbols, NO_INPUTS)

    def policy(self, panel: BarPanel, /) -> Callable[[int, Accounts], Tensor]:
        def decision(t: int, accounts: Accounts) -> Tensor:
            self.asked.append(as_datetime(panel.closed_at[t]))
            return self.weights(panel, t, accounts)

        return decision


def half_in(asset: int) -> Weights:
    """Buy half of the account's value once, and hold it; nothing else."""

    def weights(panel: BarPanel, t: int, accounts: Accounts) -> Tensor:
        held = accounts.weights(torch.tensor(panel.close[t]))[:, asset]
        wanted = torch.zeros_like(accounts.units)
        wanted[:, asset] = torch.where(held > 0, held, 0.5)
        return wanted

    return weights


def momentum(panel: BarPanel, t: int, accounts: Accounts) -> Tensor:
    rose = torch.tensor(panel.close[t] > panel.close[t - 2])
    return 0.25 * rose + 0.5 * accounts.weights(torch.tensor(panel.close[t]))


def reversion(panel: BarPanel, t: int, accounts: Accounts) -> Tensor:
    return 0.4 * torch.tensor(panel.close[t] < panel.close[t - 2]).unsqueeze(0).double()


def hourly(close: np.ndarray, opens: np.ndarray) -> BarPanel:
    """Bars from a day before START on."""
    opened_at = as_datetime64(START - DAY) + np.arange(len(close)) * np.timedelta64(Interval.H1.us, "us")
    high, low = np.maximum(opens, close), np.minimum(opens, close)
    return BarPanel(Interval.H1, SYMBOLS, opened_at, opens, high, low, close, np.ones_like(close), close < 0)


def still_market(n_bars: int = 24 * 6) -> BarPanel:
    """100 and 50 USD for ever: only costs change what an account is worth."""
    prices = np.tile([100.0, 50.0], (n_bars, 1))
    return hourly(prices, prices)


def restless_market(n_bars: int = 24 * 8, seed: int = 4) -> BarPanel:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.015, (n_bars, 2)), axis=0))
    opens = np.vstack([[100.0, 100.0], close[:-1]]) * np.exp(rng.normal(0, 0.002, (n_bars, 2)))
    return hourly(close, opens)


def longer(panel: BarPanel, interval: Interval) -> BarPanel:
    n = interval.us // panel.interval.us
    cut = panel.rows(0, len(panel) // n * n)
    groups = {name: getattr(cut, name).reshape(-1, n, len(SYMBOLS)) for name in PRICE_COLUMNS}
    return BarPanel(
        interval,
        SYMBOLS,
        cut.opened_at[::n],
        groups["open"][:, 0],
        groups["high"].max(axis=1),
        groups["low"].min(axis=1),
        groups["close"][:, -1],
        groups["volume"].sum(axis=1),
        cut.is_filled[::n],
    )


def desk_of(market: BarPanel, traders: Mapping[ModelId, FakeTrader], rules: Rules = RULES) -> Desk:
    def bars(wanted: Market, start: datetime, stop: datetime) -> BarPanel:
        panel = market if wanted.interval is market.interval else longer(market, wanted.interval)
        return panel.between(start, stop).known_at(stop)

    return Desk(traders.__getitem__, bars, rules)


def opened(hour: float = 0, cash_usd: float = 1_000.0) -> SystemAccount:
    return SystemAccount(at(hour), at(hour), cash_usd, SYMBOLS, None, None, open_accounts(1, 2, cash_usd))


def values(traded: SystemTraded) -> dict[float, float]:
    """Return the value at each close, by hours since START."""
    hours = (traded.equity["closed_at_utc"] - START).dt.total_hours(fractional=True)
    return dict(zip(hours.to_list(), traded.equity["value_usd"].to_list(), strict=True))


def deciders(traded: SystemTraded) -> list[tuple[int | None, str | None]]:
    return traded.equity.select("trial", "interval").rows()


# By hand, in a market that stands still, at a fee of 1 %.


def test_a_hand_over_costs_what_the_next_model_changes_and_nothing_else() -> None:
    """A buys at the open at 4, B takes over at 7."""
    desk = desk_of(still_market(), {A: FakeTrader(half_in(0)), B: FakeTrader(half_in(1))}, ONE_PERCENT)
    traded = catch_up(opened(), ((at(4), A), (at(7), B)), desk, at(9))
    assert deciders(traded) == [(1, "1h")] * 3 + [(2, "1h")] * 2
    # A buys 5 units for 500 and 5 of fee. B sells them for 500 and 5, and buys half of 995 USD for 497.5 and 4.975.
    assert values(traded) == pytest.approx({5: 995, 6: 995, 7: 995, 8: 985.025, 9: 985.025})
    assert traded.fills.select("trial", "symbol", "units", "fee_usd").rows() == [
        (1, "BTC/USD", pytest.approx(5.0), pytest.approx(5.0)),
        (2, "BTC/USD", pytest.approx(-5.0), pytest.approx(5.0)),
        (2, "ETH/USD", pytest.approx(9.95), pytest.approx(4.975)),
    ]
    assert traded.fills["filled_at_utc"].to_list() == [at(4), at(7), at(7)]
    assert traded.fills["realized_pnl_usd"].to_list() == pytest.approx([0, -10, 0])
    assert traded.equity["fee_usd"].to_list() == pytest.approx([5, 0, 0, 9.975, 0])
    assert traded.equity["turnover_usd"].to_list() == pytest.approx([500, 0, 0, 997.5, 0])
    assert traded.equity["exposure_frac"].to_list()[-1] == pytest.approx(497.5 / 985.025)
    assert traded.account is not None
    assert (traded.account.model, traded.account.traded_until) == (B, at(9))


def test_a_successor_that_wants_what_is_held_pays_nothing() -> None:
    desk = desk_of(still_market(), {A: FakeTrader(half_in(0)), B: FakeTrader(half_in(0))}, ONE_PERCENT)
    traded = catch_up(opened(), ((at(4), A), (at(7), B)), desk, at(9))
    assert len(traded.fills) == 1
    assert values(traded)[9] == pytest.approx(995)


def test_when_nobody_is_in_production_everything_is_sold_at_the_next_open_and_stays_in_cash() -> None:
    desk = desk_of(still_market(), {A: FakeTrader(half_in(0))}, ONE_PERCENT)
    traded = catch_up(opened(), ((at(4), A), (at(6.5), None)), desk, at(50))
    # A decides at 4, 5 and 6; the sale is decided at 7 and filled there: 500 less 5 of fee.
    assert values(traded) == pytest.approx({5: 995, 6: 995, 7: 995, 8: 990, 24: 990, 48: 990})
    assert deciders(traded) == [(1, "1h")] * 3 + [(None, "1h"), (None, None), (None, None)]
    assert traded.fills.select("trial", "filled_at_utc", "units").rows()[1:] == [(None, at(7), pytest.approx(-5.0))]
    assert traded.equity["exposure_frac"].to_list()[3:] == [0, 0, 0]
    assert traded.account is not None
    assert (traded.account.model, traded.account.traded_until) == (None, at(48))


def test_dampening_and_the_smallest_order_hold_back_no_sale_of_what_nobody_owns() -> None:
    rules = replace(ONE_PERCENT, dampening=0.5, costs=replace(ONE_PERCENT.costs, min_order_usd=400))
    desk = desk_of(still_market(), {A: FakeTrader(lambda *_: torch.tensor([[0.9, 0.0]]).double())}, rules)
    traded = catch_up(opened(), ((at(4), A), (at(6), None)), desk, at(10))
    assert traded.equity["exposure_frac"].to_list()[0] == pytest.approx(0.45, abs=0.01)
    assert traded.equity["exposure_frac"].to_list()[-1] == 0
    assert traded.account is not None
    assert traded.account.state.units.abs().sum() == 0


def test_before_anybody_is_in_production_there_is_a_row_of_cash_a_day() -> None:
    traded = catch_up(opened(hour=10), ((at(60), A),), desk_of(still_market(), {A: FakeTrader(momentum)}), at(60))
    assert values(traded) == {24: 1_000, 48: 1_000}
    assert deciders(traded) == [(None, None)] * 2
    assert traded.fills.is_empty()


def test_models_of_other_bars_take_over_at_a_close_of_both() -> None:
    traders = {A: FakeTrader(half_in(0)), SLOW: FakeTrader(half_in(1), Interval.H4)}
    traded = catch_up(
        opened(), ((at(3), A), (at(5), SLOW), (at(13), A)), desk_of(still_market(), traders, ONE_PERCENT), at(18)
    )
    # SLOW at the close of its bar at 8, A at the close of SLOW's bar at 16.
    assert list(values(traded)) == [4, 5, 6, 7, 8, 12, 16, 17, 18]
    assert [trial for trial, _ in deciders(traded)] == [1] * 5 + [4] * 2 + [1] * 2
    assert traders[A].asked == [at(hour) for hour in (3, 4, 5, 6, 7, 16, 17)]
    assert traders[SLOW].asked == [at(8), at(12)]


# Whatever the moments at which it is called.

CHANGES = st.lists(
    st.tuples(st.integers(0, 2 * 24 * 6), st.sampled_from([None, A, B, SLOW])),
    max_size=7,
    unique_by=lambda change: change[0],
)


def changes_of(pairs: list[tuple[int, ModelId | None]]) -> Changes:
    found: list[tuple[datetime, ModelId | None]] = []
    for half_hours, model in sorted(pairs, key=lambda pair: pair[0]):
        if model != (found[-1][1] if found else None):
            found.append((at(half_hours / 2), model))
    return tuple(found)


def traders_of() -> dict[ModelId, FakeTrader]:
    return {A: FakeTrader(momentum), B: FakeTrader(reversion), SLOW: FakeTrader(momentum, Interval.H4)}


@settings(derandomize=True, deadline=None, max_examples=20)
@given(CHANGES, st.lists(st.tuples(st.integers(0, 2 * 24 * 6), st.booleans()), max_size=12))
def test_any_partition_of_time_gives_the_same_rows_bit_for_bit(
    pairs: list[tuple[int, ModelId | None]], calls: list[tuple[int, bool]]
) -> None:
    """Also when what is decided at a moment is recorded only after that moment's trading."""
    changes, desk, end = changes_of(pairs), desk_of(restless_market(), traders_of()), at(24 * 6)
    whole = catch_up(opened(hour=1.5), changes, desk, end)
    account, parts = opened(hour=1.5), []
    for half_hours, before_the_verdicts in [*sorted(calls), (2 * 24 * 6, False)]:
        now = at(half_hours / 2)
        known = tuple(c for c in changes if c[0] < now or (c[0] == now and not before_the_verdicts))
        parts.append(catch_up(account, known, desk, now))
        assert parts[-1].account is not None
        account = parts[-1].account
    assert_frame_equal(pl.concat([p.equity for p in parts]), whole.equity, check_exact=True)
    assert_frame_equal(pl.concat([p.fills for p in parts]), whole.fills, check_exact=True)
    assert whole.account is not None
    assert account.state.to_rows() == whole.account.state.to_rows()
    assert replace(account, state=whole.account.state) == whole.account


@settings(derandomize=True, deadline=None, max_examples=10)
@given(CHANGES)
def test_every_day_has_a_row_and_every_cent_is_accounted_for(pairs: list[tuple[int, ModelId | None]]) -> None:
    traded = catch_up(opened(), changes_of(pairs), desk_of(restless_market(), traders_of()), at(24 * 6))
    closes = traded.equity["closed_at_utc"]
    assert set(closes) >= {at(24 * day) for day in range(1, 7)}
    assert closes.is_sorted()
    assert closes.n_unique() == len(closes)
    fills, account = traded.fills, traded.account
    assert account is not None
    spent = (fills["units"] * fills["price_usd"] + fills["fee_usd"]).sum()
    assert account.state.cash_usd.item() == pytest.approx(1_000 - spent)
    assert fills["fee_usd"].sum() == pytest.approx(traded.equity["fee_usd"].sum())
    held = fills.group_by("symbol").agg(pl.col("units").sum()).filter(pl.col("units").abs() > 1e-9)
    assert len(held) == int((account.state.units > 0).sum())


def test_a_hand_over_between_equal_models_changes_nothing_but_the_name() -> None:
    """Holdings, average entries, peaks and cycles go on; the rules act as if nothing had happened."""
    desk = desk_of(restless_market(), {A: FakeTrader(momentum), B: FakeTrader(momentum)})
    alone = catch_up(opened(), ((at(4), A),), desk, at(140))
    changed = catch_up(opened(), tuple((at(4 + 9 * n), (A, B)[n % 2]) for n in range(15)), desk, at(140))
    who = ["study", "trial"]
    assert_frame_equal(alone.equity.drop(who), changed.equity.drop(who), check_exact=True)
    assert_frame_equal(alone.fills.drop(who), changed.fills.drop(who), check_exact=True)
    assert changed.equity["trial"].n_unique() == 2
    assert alone.equity["rules"].n_unique() > 2  # there was something to remember


def test_bars_and_decisions_of_later_change_nothing_before() -> None:
    changes, market = ((at(4), A), (at(30), SLOW), (at(70), None), (at(80), B)), restless_market()
    before = catch_up(opened(), changes[:3], desk_of(market, traders_of()), at(77))
    n_known = len(market.known_at(at(77)))
    scale = np.where(np.arange(len(market)) < n_known, 1.0, 3.0)[:, None]
    later = replace(market, **{name: getattr(market, name) * scale for name in ("open", "high", "low", "close")})
    after = catch_up(opened(), changes, desk_of(later, traders_of()), at(120))
    assert_frame_equal(after.equity.head(len(before.equity)), before.equity, check_exact=True)
    assert len(after.equity) > len(before.equity) == 39


def test_where_bars_are_late_the_account_waits_for_them() -> None:
    market = restless_market()
    short = market.known_at(at(20))
    changes: Changes = ((at(4), A), (at(15), SLOW), (at(26), None), (at(60), B))
    first = catch_up(opened(), changes, desk_of(short, traders_of()), at(90))
    assert first.account is not None
    assert first.account.traded_until == at(20)
    second = catch_up(first.account, changes, desk_of(market, traders_of()), at(90))
    whole = catch_up(opened(), changes, desk_of(market, traders_of()), at(90))
    assert_frame_equal(pl.concat([first.equity, second.equity]), whole.equity, check_exact=True)


@pytest.mark.parametrize("symbols", [("BTC/USD",), ("ETH/USD", "BTC/USD")])
def test_a_model_of_other_symbols_is_refused_by_name(symbols: tuple[str, ...]) -> None:
    desk = desk_of(still_market(), {A: FakeTrader(momentum, symbols=symbols)})
    with pytest.raises(DataError, match=r"model s/1, which came to production, trades .*holds BTC/USD, ETH/USD"):
        catch_up(opened(), ((at(4), A),), desk, at(9))


# On the warehouse, with models of random weights.

FIRST = START + 25 * DAY
"""A comes to production."""
Move = Callable[..., tuple[Decision, ...]]


def act(warehouse: Warehouse, now: datetime, move: Move, model: ModelId) -> None:
    decide(warehouse, lambda book: move(book, model, now, "tried"))


def back(book: StageBook, model: ModelId, now: datetime, reason: str) -> tuple[Decision, ...]:
    return moves.rollback(book, now, reason)


HISTORY: tuple[tuple[datetime, Move, ModelId], ...] = (
    (FIRST, moves.promote, A),
    (FIRST + 0.8 * DAY, replace_production, SLOW),
    (FIRST + 1.6 * DAY, replace_production, B),
    (FIRST + 2.2 * DAY, back, SLOW),
    (FIRST + 3.1 * DAY, moves.retire, SLOW),
)


def table(warehouse: Warehouse, name: str) -> pl.DataFrame:
    return warehouse.query(f"from desk.system_{name} order by all")


TABLES = ("account", "equity", "fills")


@pytest.fixture
def desk(full_warehouse: Warehouse, small_settings: Settings) -> Warehouse:
    """Three models; A is in the sandbox a day before FIRST. Nothing is traded."""
    for model, interval in ((A, Interval.H1), (B, Interval.H1), (SLOW, Interval.H4)):
        save_model(small_settings.artifacts, model, START + 10 * DAY, interval=interval)
        act(full_warehouse, FIRST - 2 * DAY, moves.enter, model)
    act(full_warehouse, FIRST - DAY, moves.promote, A)
    return full_warehouse


def test_the_system_stores_the_same_in_one_go_and_in_steps(
    desk: Warehouse, small_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copy = Warehouse(tmp_path_factory.mktemp("copy") / "w.duckdb")
    desk.publish(copy.file)
    for decided in HISTORY:
        act(copy, *decided)
    trade_system(copy, small_settings, FIRST + 5 * DAY)
    moments = [FIRST + days * DAY for days in (-2, 0, 1, 1.7, 2.2, 3.15, 5)]
    for now, then in pairwise([*moments, END]):
        trade_system(desk, small_settings, now)
        for decided in HISTORY:
            if now <= decided[0] < then:  # also what is decided at `now` itself, after the trading
                act(desk, *decided)
    for name in TABLES:
        assert_frame_equal(table(desk, name), table(copy, name), check_exact=True)
    equity = table(desk, "equity")
    assert equity["trial"].unique(maintain_order=True).to_list() == [None, 1, 4, 2]
    assert len(table(desk, "fills")) > 10
    assert equity["closed_at_utc"][-1] == FIRST + 5 * DAY
    with desk.read() as reader:
        for name in TABLES:
            assert all(one.passed for one in run_tests(reader, SCHEMA.contracts[f"desk.system_{name}"]))


def test_the_account_opens_in_cash_at_the_first_decision_on_any_model(
    desk: Warehouse, small_settings: Settings
) -> None:
    traded = trade_system(desk, small_settings, FIRST - 2 * DAY)
    assert traded.equity.is_empty()
    with desk.read() as reader:
        account = read_system(reader)
    assert account is not None
    assert (account.opened_at, account.cash_usd, account.symbols) == (FIRST - 2 * DAY, 10_000.0, SYMBOLS)
    assert (account.model, account.state.to_rows()) == (None, open_accounts(1, 2, 10_000.0).to_rows())


def test_the_account_opens_when_the_caller_says_and_only_once(desk: Warehouse, small_settings: Settings) -> None:
    opening = FIRST - 10 * DAY
    assert trade_system(desk, small_settings, opening - HOUR, opening).account is None
    for days in (0, 3, 4):
        trade_system(desk, small_settings, opening + days * DAY, opening + days * DAY)
    assert table(desk, "account")["opened_at_utc"].to_list() == [opening]
    assert table(desk, "equity")["value_usd"].to_list() == [10_000.0] * 4


def test_without_a_decision_there_is_no_account(full_warehouse: Warehouse, small_settings: Settings) -> None:
    traded = trade_system(full_warehouse, small_settings, END)
    assert (traded.account, len(traded.equity), len(traded.fills)) == (None, 0, 0)
    assert table(full_warehouse, "account").is_empty()


def test_a_repetition_or_an_earlier_moment_changes_nothing(desk: Warehouse, small_settings: Settings) -> None:
    act(desk, *HISTORY[0])
    trade_system(desk, small_settings, FIRST + 1.3 * DAY)
    before = {name: table(desk, name) for name in TABLES}
    for days in (1.3, 1, 0.5, -3):
        assert trade_system(desk, small_settings, FIRST + days * DAY).equity.is_empty()
    for name in TABLES:
        assert_frame_equal(table(desk, name), before[name], check_exact=True)


def test_what_somebody_else_stored_meanwhile_leaves_nothing_half(desk: Warehouse, small_settings: Settings) -> None:
    """The transaction meets a fill that is there already: neither bars nor account move."""
    act(desk, *HISTORY[0])
    trade_system(desk, small_settings, FIRST)
    before = {name: table(desk, name) for name in ("account", "equity")}
    intruder = {"symbol": "BTC/USD", "units": 1.0, "price_usd": 1.0, "fee_usd": 0.0, "slippage_usd": 0.0}
    with desk.write() as writer:
        rows = [
            {"filled_at_utc": FIRST + n * HOUR, **intruder, "realized_pnl_usd": 0.0, "study": "s", "trial": 1}
            for n in range(24)
        ]
        writer.append(
            "desk.system_fills", pl.DataFrame(rows).with_columns(pl.col("filled_at_utc").cast(pl.Datetime("us", "UTC")))
        )
    with pytest.raises(ContractError):
        trade_system(desk, small_settings, FIRST + DAY)
    for name, rows_before in before.items():
        assert_frame_equal(table(desk, name), rows_before, check_exact=True)
    with desk.write() as writer:
        writer.execute("delete from desk.system_fills")
    trade_system(desk, small_settings, FIRST + DAY)
    assert len(table(desk, "equity").filter(pl.col("trial") == 1)) == 24


def test_a_model_that_has_left_is_sold_even_when_its_folder_is_gone(desk: Warehouse, small_settings: Settings) -> None:
    act(desk, *HISTORY[0])
    trade_system(desk, small_settings, FIRST + DAY)
    act(desk, FIRST + DAY, moves.retire, A)
    for file in folder_of(small_settings.artifacts, A).iterdir():
        file.unlink()
    trade_system(desk, small_settings, FIRST + 3 * DAY)
    tail = table(desk, "equity").filter(pl.col("closed_at_utc") > FIRST + DAY)
    assert tail["closed_at_utc"].to_list() == [FIRST + DAY + HOUR, FIRST + 2 * DAY, FIRST + 3 * DAY]
    assert tail["exposure_frac"].to_list() == [0, 0, 0]


def test_other_symbols_in_the_settings_are_refused(desk: Warehouse, small_settings: Settings) -> None:
    trade_system(desk, small_settings, FIRST)
    other = small_settings.market.model_copy(update={"symbols": SYMBOLS[::-1]})
    with pytest.raises(DataError, match=r"market.symbols has ETH/USD, BTC/USD; the account of the system holds"):
        trade_system(desk, small_settings.model_copy(update={"market": other}), FIRST + DAY)
