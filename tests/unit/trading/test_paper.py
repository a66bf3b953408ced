from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from torch import Tensor

from cappuccino.errors import ArtifactError, ContractError, DataError
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, as_datetime, as_datetime64
from cappuccino.portfolio.account import Accounts
from cappuccino.registry import moves
from cappuccino.registry.artifacts import folder_of
from cappuccino.registry.identity import ModelId
from cappuccino.registry.record import decide
from cappuccino.registry.stages import Decision, StageBook
from cappuccino.risk.rules import Rules
from cappuccino.settings import CostSettings, RiskSettings, Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.trading.paper import PaperAccount, Traded, catch_up, open_paper_accounts, trade_paper
from tests.unit.small_lab import replace_production, save_model
from tests.unit.small_market import DAY, END, HOUR, START, SYMBOLS

MODEL, OTHER = ModelId("s", 1), ModelId("s", 2)
RULES = Rules.of(RiskSettings(), CostSettings())
FREE = Rules.of(RiskSettings(), CostSettings(fee_bps=0, slippage_bps=0, min_order_usd=0)).without_protection()
OPENING = START + 30 * HOUR


def random_panel(n_bars: int = 150, seed: int = 4) -> BarPanel:
    """Two restless symbols from START on: stops and profit taking happen."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.015, (n_bars, 2)), axis=0))
    opens = np.vstack([[100.0, 100.0], close[:-1]]) * np.exp(rng.normal(0, 0.002, (n_bars, 2)))
    return panel_of(opens, close)


def panel_of(opens: np.ndarray, close: np.ndarray) -> BarPanel:
    opened_at = as_datetime64(START) + np.arange(len(close)) * np.timedelta64(Interval.H1.us, "us")
    high, low = np.maximum(opens, close), np.minimum(opens, close)
    return BarPanel(Interval.H1, SYMBOLS, opened_at, opens, high, low, close, np.ones_like(close), close < 0)


@dataclass
class FakeAgent:
    """Holds what rose in the last two bars, and half of what it has besides; remembers which bars it was asked on."""

    weights: Callable[[BarPanel, int, Accounts], Tensor]
    asked: list[datetime] = field(default_factory=list)

    def policy(self, panel: BarPanel) -> Callable[[int, Accounts], Tensor]:
        def decision(t: int, accounts: Accounts) -> Tensor:
            self.asked.append(as_datetime(panel.closed_at[t]))
            return self.weights(panel, t, accounts)

        return decision


def momentum(panel: BarPanel, t: int, accounts: Accounts) -> Tensor:
    rose = torch.tensor(panel.close[t] > panel.close[t - 2])
    return 0.25 * rose + 0.5 * accounts.weights(torch.tensor(panel.close[t]))


def halves(panel: BarPanel, t: int, accounts: Accounts) -> Tensor:
    return torch.tensor([[0.5, 0.5]], dtype=torch.float64)


def opened(moment: datetime = OPENING, cash_usd: float = 1_000.0) -> PaperAccount:
    return PaperAccount(MODEL, "sandbox", moment, moment, cash_usd, None)


def until(panel: BarPanel, n_bars: int) -> BarPanel:
    return panel.rows(0, n_bars)


def traded_in(panel: BarPanel, stops: list[int], rules: Rules = RULES) -> list[Traded]:
    """Catch up with the first `stops` bars of `panel`, one after the other."""
    account, parts = opened(), []
    for stop in stops:
        done = catch_up(account, FakeAgent(momentum), until(panel, stop), rules)
        if done:
            account = done.account
            parts.append(done)
    return parts


@settings(derandomize=True, deadline=None, max_examples=15)
@given(st.sets(st.integers(1, 149), max_size=12))
def test_many_small_steps_are_one_large_one_bit_for_bit(stops: set[int]) -> None:
    panel = random_panel()
    (whole,) = traded_in(panel, [150])
    parts = traded_in(panel, [*sorted(stops), 150])
    assert_frame_equal(pl.concat([p.equity for p in parts]), whole.equity, check_exact=True)
    assert_frame_equal(pl.concat([p.fills for p in parts]), whole.fills, check_exact=True)
    assert parts[-1].account.state.to_rows() == whole.account.state.to_rows()
    assert parts[-1].account.traded_until == whole.account.traded_until
    assert whole.equity["rules"].n_unique() > 2  # there was something to remember


def test_an_account_trades_exactly_the_bars_after_its_opening() -> None:
    panel, agent = random_panel(), FakeAgent(momentum)
    done = catch_up(opened(), agent, panel, RULES)
    assert done is not None
    # The bar that closes at the opening is decided on; the next one opens and fills at the same moment.
    assert agent.asked == [OPENING + n * HOUR for n in range(150 - 30)]
    assert done.equity["closed_at_utc"].to_list() == [OPENING + n * HOUR for n in range(1, 150 - 30 + 1)]
    assert done.fills["filled_at_utc"].min() >= OPENING
    assert done.account.traded_until == as_datetime(panel.closed_at[-1])


def test_an_account_that_opens_inside_a_bar_waits_for_its_close() -> None:
    """The open of the running bar is a price of before the account was there."""
    for minutes in (1, 59):
        agent = FakeAgent(momentum)
        done = catch_up(opened(OPENING + timedelta(minutes=minutes)), agent, random_panel(), RULES)
        assert done is not None
        assert agent.asked[0] == OPENING + HOUR
        assert done.equity["closed_at_utc"][0] == OPENING + 2 * HOUR


def test_without_a_new_bar_nothing_is_traded() -> None:
    panel = random_panel()
    for n_bars in (29, 30):
        assert catch_up(opened(), FakeAgent(momentum), until(panel, n_bars), RULES) is None
    first = catch_up(opened(), FakeAgent(momentum), until(panel, 31), RULES)
    assert first is not None
    assert len(first.equity) == 1
    for n_bars in (30, 31):  # bars that it has traded already, as in a run that is repeated
        assert catch_up(first.account, FakeAgent(momentum), until(panel, n_bars), RULES) is None


def test_bars_that_begin_after_the_account_does_are_refused() -> None:
    late = random_panel().rows(30, 150)
    with pytest.raises(DataError, match="from 2025-03-02 06:00 UTC on, but they begin at 2025-03-02T06:00"):
        catch_up(opened(), FakeAgent(momentum), late, RULES)
    assert catch_up(opened(), FakeAgent(momentum), random_panel().rows(29, 150).rows(0, 1), RULES) is None


def test_values_and_benchmark_are_the_sums_done_by_hand() -> None:
    # Bought at the second open (110 and 90); the benchmark starts at the opening's close (100 and 100).
    close = np.array([[100.0, 100.0], [100.0, 100.0], [121.0, 90.0], [110.0, 45.0]])
    opens = np.array([[100.0, 100.0], [100.0, 100.0], [110.0, 90.0], [121.0, 90.0]])
    done = catch_up(opened(START + 2 * HOUR), FakeAgent(halves), panel_of(opens, close), FREE)
    assert done is not None
    # 500 / 110 and 500 / 90 units, sized on the close of 100: 5 and 5 units cost 550 + 450 = 1000.
    assert done.fills["units"].to_list()[:2] == pytest.approx([5.0, 5.0])
    assert done.fills["price_usd"].to_list()[:2] == [110.0, 90.0]
    assert done.equity["value_usd"][0] == pytest.approx(5 * 121 + 5 * 90)
    assert done.equity["benchmark_usd"].to_list() == pytest.approx([1_055.0, 775.0])
    assert done.equity["exposure_frac"][0] == pytest.approx(1.0)
    assert done.equity["turnover_usd"][0] == pytest.approx(1_000.0)


def test_costs_of_a_bar_are_those_of_its_fills() -> None:
    done = catch_up(opened(), FakeAgent(momentum), random_panel(), RULES)
    assert done is not None
    per_bar = done.fills.group_by(pl.col("filled_at_utc") + HOUR).agg(
        pl.col("fee_usd").sum(), pl.col("slippage_usd").sum(), (pl.col("units").abs() * pl.col("price_usd")).sum()
    )
    joined = done.equity.join(per_bar, left_on="closed_at_utc", right_on="filled_at_utc", how="left").fill_null(0.0)
    for name, of_fills in (
        ("fee_usd", "fee_usd_right"),
        ("slippage_usd", "slippage_usd_right"),
        ("turnover_usd", "units"),
    ):
        np.testing.assert_allclose(joined[name], joined[of_fills], rtol=1e-12, atol=1e-12)
    assert (done.fills["units"] != 0).all()
    assert done.equity["fee_usd"].sum() > 0


# On the warehouse, with models of random weights.

PROMOTED = START + 25 * DAY
Move = Callable[..., tuple[Decision, ...]]


def act(warehouse: Warehouse, now: datetime, *steps: tuple[Move, ModelId]) -> None:
    for move, model in steps:
        decide(warehouse, lambda book, move=move, model=model: move(book, model, now, "tried"))


def back(book: StageBook, model: ModelId, now: datetime, reason: str) -> tuple[Decision, ...]:
    return moves.rollback(book, now, reason)


def to_live(book: StageBook, model: ModelId, now: datetime, reason: str) -> tuple[Decision, ...]:
    return moves.promote_to_live(book, now, reason, {})


def table(warehouse: Warehouse, name: str) -> pl.DataFrame:
    return warehouse.query(f"from desk.{name} order by all")


@pytest.fixture
def desk(full_warehouse: Warehouse, small_settings: Settings) -> Warehouse:
    """MODEL comes to the sandbox at PROMOTED; OTHER waits in the arena."""
    for model in (MODEL, OTHER):
        save_model(small_settings.artifacts, model, START + 10 * DAY)
        act(full_warehouse, START, (moves.enter, model))
    act(full_warehouse, PROMOTED, (moves.promote, MODEL))
    return full_warehouse


def test_the_desk_stores_the_same_in_one_go_and_in_steps(
    desk: Warehouse, small_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copy = Warehouse(tmp_path_factory.mktemp("copy") / "w.duckdb")
    desk.publish(copy.file)
    assert len(trade_paper(copy, small_settings, END)) == 1
    for hours in (1, 2, 5, 30, 30.5, 200, 480, 480):
        trade_paper(desk, small_settings, PROMOTED + hours * HOUR)
    for name in ("equity", "fills", "accounts"):
        assert_frame_equal(table(desk, name), table(copy, name), check_exact=True)
    equity = table(desk, "equity")
    assert equity["closed_at_utc"].to_list() == [PROMOTED + n * HOUR for n in range(1, 481)]
    assert len(table(desk, "fills")) > 10


def test_the_desk_sees_no_bar_that_had_not_closed(desk: Warehouse, small_settings: Settings) -> None:
    (done,) = trade_paper(desk, small_settings, PROMOTED + 3.9 * HOUR)
    assert done.equity["closed_at_utc"].max() == PROMOTED + 3 * HOUR
    assert trade_paper(desk, small_settings, PROMOTED + 3.9 * HOUR) == []
    assert trade_paper(desk, small_settings, PROMOTED) == []


def test_a_promotion_keeps_the_account(desk: Warehouse, small_settings: Settings) -> None:
    trade_paper(desk, small_settings, PROMOTED + 5 * HOUR)
    act(desk, PROMOTED + 5 * HOUR, (moves.promote, MODEL))
    trade_paper(desk, small_settings, PROMOTED + 9 * HOUR)
    act(desk, PROMOTED + 9 * HOUR, (moves.demote, MODEL))
    trade_paper(desk, small_settings, PROMOTED + 10 * HOUR)
    equity = table(desk, "equity")
    assert equity["stage"].to_list() == ["sandbox"] * 5 + ["production"] * 4 + ["sandbox"]
    assert table(desk, "accounts")["opened_at_utc"].to_list() == [PROMOTED]


def test_an_account_opens_with_the_arrival_however_late_it_first_trades(
    desk: Warehouse, small_settings: Settings
) -> None:
    act(desk, PROMOTED + 2 * HOUR, (moves.promote, MODEL))
    with desk.read() as reader:
        (account,) = open_paper_accounts(reader, 500.0)
    assert (account.stage, account.opened_at, account.traded_until) == ("production", PROMOTED, PROMOTED)
    assert (account.cash_usd, account.state) == (500.0, None)


def test_who_is_not_on_the_desk_does_not_trade(desk: Warehouse, small_settings: Settings) -> None:
    trade_paper(desk, small_settings, PROMOTED + 5 * HOUR)
    act(desk, PROMOTED + 5 * HOUR, (moves.promote, MODEL), (to_live, MODEL))
    assert trade_paper(desk, small_settings, PROMOTED + 9 * HOUR) == []
    act(desk, PROMOTED + 9 * HOUR, (moves.retire, MODEL))
    assert trade_paper(desk, small_settings, PROMOTED + 9 * HOUR) == []
    assert len(table(desk, "equity")) == 5


@pytest.mark.parametrize(
    "way",
    [
        [(moves.promote, MODEL), (replace_production, OTHER), (back, MODEL)],
        [(moves.promote, MODEL), (to_live, MODEL), (moves.demote, MODEL)],
        # Back, and moved on before a bar was traded: the account of before stays closed.
        [(moves.promote, MODEL), (replace_production, OTHER), (back, MODEL), (moves.demote, MODEL)],
    ],
)
def test_who_comes_back_to_the_desk_starts_anew(
    desk: Warehouse, small_settings: Settings, way: list[tuple[Move, ModelId]]
) -> None:
    trade_paper(desk, small_settings, PROMOTED + 30 * HOUR)
    first, leaving = table(desk, "equity"), PROMOTED + 30 * HOUR
    returning = leaving + 50 * HOUR
    act(desk, leaving, *way[:2])
    act(desk, returning, *way[2:])
    trade_paper(desk, small_settings, returning + 4 * HOUR)
    (account,) = table(desk, "accounts").iter_rows(named=True)
    assert (account["opened_at_utc"], account["cash_usd"]) == (returning, small_settings.sandbox.cash_usd)
    equity = table(desk, "equity")
    assert_frame_equal(equity.head(30), first)
    assert equity["closed_at_utc"].to_list()[30:] == [returning + n * HOUR for n in range(1, 5)]
    # The new life is that of an account that was never there before.
    with desk.read() as reader:
        (now,) = open_paper_accounts(reader, 1.0)
    assert now.state is not None
    assert float(now.state.value(torch.zeros(2, dtype=torch.float64))[0]) <= 10_000.0
    assert equity["value_usd"][30] == pytest.approx(10_000.0, rel=0.02)
    trade_paper(desk, small_settings, returning + 6 * HOUR)
    assert len(table(desk, "equity")) == 36


def test_accounts_of_several_models_know_nothing_of_each_other(desk: Warehouse, small_settings: Settings) -> None:
    alone = trade_paper(desk, small_settings, PROMOTED + 20 * HOUR)
    act(desk, PROMOTED + 20 * HOUR, (moves.promote, OTHER))
    both = trade_paper(desk, small_settings, PROMOTED + 40 * HOUR)
    assert [len(done.equity) for done in (*alone, *both)] == [20, 20, 20]
    assert {done.account.model: done.account.opened_at for done in both} == {
        MODEL: PROMOTED,
        OTHER: PROMOTED + 20 * HOUR,
    }
    values = table(desk, "equity").group_by("trial").agg(pl.col("value_usd").last())
    assert values["value_usd"].n_unique() == 2


def test_what_cannot_be_traded_whole_is_not_stored_at_all(desk: Warehouse, small_settings: Settings) -> None:
    act(desk, PROMOTED, (moves.promote, OTHER))
    weights = folder_of(small_settings.artifacts, OTHER) / "policy.pt"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(ArtifactError, match="does not match its manifest"):
        trade_paper(desk, small_settings, PROMOTED + 9 * HOUR)
    assert table(desk, "equity").is_empty()
    assert table(desk, "accounts").is_empty()


def test_a_bar_that_somebody_else_stored_meanwhile_is_not_stored_twice(
    desk: Warehouse, small_settings: Settings
) -> None:
    (done,) = trade_paper(desk, small_settings, PROMOTED + 3 * HOUR)
    with pytest.raises(ContractError), desk.write() as writer:
        writer.append("desk.equity", done.equity)
    assert len(table(desk, "equity")) == 3


def test_a_model_whose_bars_are_missing_is_an_error(desk: Warehouse, small_settings: Settings) -> None:
    with desk.write() as writer:
        writer.execute("delete from market.bars_all where symbol = 'ETH/USD'")
    with pytest.raises(DataError, match="no 1h bars for ETH/USD"):
        trade_paper(desk, small_settings, END)


def test_an_empty_desk_has_nothing_to_do(full_warehouse: Warehouse, small_settings: Settings) -> None:
    assert trade_paper(full_warehouse, small_settings, END) == []


def test_changed_bars_of_later_change_nothing_before(desk: Warehouse, small_settings: Settings) -> None:
    trade_paper(desk, small_settings, PROMOTED + 24 * HOUR)
    before = table(desk, "equity")
    with desk.write() as writer:
        for name in ("equity", "fills", "accounts"):
            writer.execute(f"delete from desk.{name}")
        writer.execute(
            "update market.bars_all set open = 3 * open, high = 3 * high, low = 3 * low, close = 3 * close "
            "where closed_at_utc > $moment",
            moment=PROMOTED + 24 * HOUR,
        )
    trade_paper(desk, small_settings, PROMOTED + 30 * HOUR)
    assert_frame_equal(table(desk, "equity").head(24), before, check_exact=True)


def test_whom_the_trader_keeps_the_desk_leaves_alone(desk: Warehouse, small_settings: Settings) -> None:
    act(desk, PROMOTED, (moves.promote, OTHER))
    trade_paper(desk, small_settings, PROMOTED + 3 * HOUR)
    assert table(desk, "accounts")["kept_by"].to_list() == ["desk", "desk"]
    with desk.write() as writer:
        writer.execute("update desk.accounts set kept_by = 'trader' where trial = $trial", trial=MODEL.trial)
    (done,) = trade_paper(desk, small_settings, PROMOTED + 6 * HOUR)
    assert done.account.model == OTHER
    assert dict(table(desk, "equity").group_by("trial").len().iter_rows()) == {MODEL.trial: 3, OTHER.trial: 6}


def test_accounts_come_back_from_the_warehouse_as_they_were_left(desk: Warehouse, small_settings: Settings) -> None:
    (done,) = trade_paper(desk, small_settings, PROMOTED + 24 * HOUR)
    with desk.read() as reader:
        (stored,) = open_paper_accounts(reader, 1.0)
    assert stored.state is not None
    assert done.account.state is not None
    assert stored.state.to_rows() == done.account.state.to_rows()
    assert replace(stored, state=None) == replace(done.account, state=None)
