"""`cappuccino bars` against an exchange on this machine: fetched, fetched on, broken off and taken up again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from cappuccino.market.interval import Interval
from cappuccino.store.warehouse import Warehouse
from tests.loopback.exchange import SYMBOLS, Exchange, running
from tests.loopback.handler import html, status

START = datetime(2024, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
STORED = "select symbol, opened_at_utc, open, high, low, close, volume from market.bars order by symbol, opened_at_utc"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    with running(tmp_path_factory.mktemp("certificates")) as exchange:
        yield exchange


@pytest.fixture
def exchange(served: Exchange) -> Exchange:
    served.reset()
    return served


@pytest.fixture(params=["alpaca", "coinbase"])
def bars(request: pytest.FixtureRequest, exchange: Exchange, cappuccino, tmp_path: Path) -> Callable:
    """`cappuccino bars ...` of one venue, on a warehouse of its own."""
    environment = {
        "CAPPUCCINO_MARKET__SOURCE": request.param,
        "CAPPUCCINO_MARKET__SYMBOLS": json.dumps(SYMBOLS),
        "CAPPUCCINO_ALPACA__DATA_URL": exchange.alpaca_url,
        "CAPPUCCINO_COINBASE__BASE_URL": exchange.coinbase_host,
        **{f"CAPPUCCINO_{venue}__REQUESTS_PER_MINUTE": "1e6" for venue in ("ALPACA", "COINBASE")},
        **{f"CAPPUCCINO_{venue}__MAX_ATTEMPTS": "2" for venue in ("ALPACA", "COINBASE")},
        **{f"CAPPUCCINO_{venue}__MAX_PAUSE_S": "0.001" for venue in ("ALPACA", "COINBASE")},
        **{f"CAPPUCCINO_{venue}__FIRST_PAUSE_S": "0.001" for venue in ("ALPACA", "COINBASE")},
    }

    def call(*arguments: str):
        return cappuccino("bars", *arguments, "--warehouse", tmp_path / "w", **environment)

    return call


def test_bars_are_fetched_checked_and_derived_and_only_new_ones_the_next_time(bars, exchange, tmp_path):
    first = bars("sync", "--from", "2024-03-01", "--to", "2024-03-04")
    assert first.exit_code == 0, first.stderr
    assert "864 bars, 100%" in first.stderr
    warehouse = Warehouse(tmp_path / "w" / "cappuccino.duckdb")
    assert_frame_equal(warehouse.query(STORED), exchange.truth(SYMBOLS, Interval.M15, START, START + 3 * DAY))
    assert warehouse.query("select count(*) from market.bars_1d").item() == 9
    assert warehouse.query("select count(*) from ops.data_quality where not passed and severity = 'error'").item() == 0
    calls = warehouse.query("select outcome, sum(calls)::int from ops.api_errors group by all").rows()
    assert [outcome for outcome, _ in calls] == ["ok"]

    exchange.asked.clear()
    again = bars("sync", "--from", "2024-03-01", "--to", "2024-03-05", "--json")
    (known,) = {row["known_until_utc"] for row in json.loads(again.stdout)["bars"]}
    assert known.startswith("2024-03-05T00:00")
    assert_frame_equal(warehouse.query(STORED), exchange.truth(SYMBOLS, Interval.M15, START, START + 4 * DAY))
    news = warehouse.query("select bars, new_bars, changed_bars from ops.syncs order by synced_at_utc").rows()[-1]
    assert news == (3 * (96 + 5), 3 * 96, 0), "the new day, and five bars that may have been unfinished"


@pytest.mark.parametrize("bars", ["alpaca"], indirect=True)
def test_a_venue_that_fails_in_the_middle_costs_nothing_that_was_there_and_its_failures_are_kept(
    bars, exchange, tmp_path
):
    assert bars("sync", "--from", "2024-03-01", "--to", "2024-03-02").exit_code == 0
    exchange.faults.extend([html(502), status(429)] * 3)
    broken = bars("sync", "--from", "2024-03-01", "--to", "2024-03-03")
    assert broken.exit_code == 1
    assert "error: " in broken.stderr
    exchange.faults.clear()
    warehouse = Warehouse(tmp_path / "w" / "cappuccino.duckdb")
    assert len(warehouse.query(STORED)) == 3 * 96
    outcomes = warehouse.query("select distinct outcome from ops.api_errors")["outcome"].to_list()
    assert {"ok", "server_error", "rate_limited"} <= set(outcomes)
    assert bars("sync", "--from", "2024-03-01", "--to", "2024-03-03").exit_code == 0
    assert_frame_equal(warehouse.query(STORED), exchange.truth(SYMBOLS, Interval.M15, START, START + 2 * DAY))


@pytest.mark.parametrize("bars", ["coinbase"], indirect=True)
def test_refetching_replaces_what_the_venue_has_corrected_and_says_how_much(bars, exchange, tmp_path):
    assert bars("sync", "--from", "2024-03-01", "--to", "2024-03-03").exit_code == 0
    noon = START + timedelta(hours=12)

    def corrected(rows):
        return [type(row)(**{**vars(row), "volume": 7.5}) if row.opened_at == noon else row for row in rows]

    exchange.edit = corrected
    warehouse = Warehouse(tmp_path / "w" / "cappuccino.duckdb")
    assert bars("sync", "--from", "2024-03-01", "--to", "2024-03-03").exit_code == 0
    assert warehouse.query("from market.bars where volume = 7.5").is_empty(), "what was answered is not asked again"
    assert bars("sync", "--from", "2024-03-01", "--to", "2024-03-03", "--refetch").exit_code == 0
    assert warehouse.query("select distinct opened_at_utc from market.bars where volume = 7.5").rows() == [(noon,)]
    assert warehouse.query("select sum(changed_bars)::int from ops.syncs").item() == 3


@pytest.mark.parametrize("bars", ["alpaca"], indirect=True)
def test_holes_show_in_coverage_and_quality(bars, exchange):
    exchange.edit = lambda rows: [
        row for row in rows if not (row.symbol == "ETH/USD" and row.opened_at == START + timedelta(hours=5))
    ]
    assert bars("sync", "--from", "2024-03-01", "--to", "2024-03-03").exit_code == 0
    coverage = {row["symbol"]: row for row in json.loads(bars("coverage", "--json").stdout)}
    assert coverage["ETH/USD"]["absent_bars"] == 1
    assert coverage["ETH/USD"]["days_with_holes"] == 1
    assert coverage["BTC/USD"]["coverage_frac"] == 1
    found = json.loads(bars("quality", "--json").stdout)
    assert {(row["check"], row["symbol"], row["n_bad"]) for row in found} == {("gaps", "ETH/USD", 1)}
