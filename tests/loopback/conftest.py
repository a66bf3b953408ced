"""One exchange for all tests here, and both sources pointed at it, with clocks that cost no time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from cappuccino.clock import FixedClock
from cappuccino.market.venues.alpaca import AlpacaSource
from cappuccino.market.venues.calls import Caller
from cappuccino.market.venues.coinbase import CoinbaseSource
from cappuccino.market.venues.venue import VenueSource
from cappuccino.settings import AlpacaSettings, CoinbaseSettings
from tests.loopback.exchange import Exchange, running
from tests.loopback.stopwatch import Stopwatch

NOW = datetime(2024, 6, 1, 12, 34, 56, tzinfo=UTC)


MakeSource = Callable[..., VenueSource]


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    with running(tmp_path_factory.mktemp("certificates")) as exchange:
        yield exchange


@pytest.fixture
def exchange(served: Exchange) -> Exchange:
    """The exchange, well behaved."""
    served.reset()
    return served


@pytest.fixture
def stopwatch() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
def make_alpaca(exchange: Exchange, stopwatch: Stopwatch) -> MakeSource:
    def make(now: datetime = NOW, **fields: Any) -> AlpacaSource:
        settings = AlpacaSettings(**{"data_url": exchange.alpaca_url, "requests_per_minute": 1e6, **fields})
        return AlpacaSource(settings, FixedClock(now), _caller("alpaca", settings, stopwatch))

    return make


@pytest.fixture
def make_coinbase(exchange: Exchange, stopwatch: Stopwatch) -> MakeSource:
    def make(now: datetime = NOW, **fields: Any) -> CoinbaseSource:
        settings = CoinbaseSettings(**{"base_url": exchange.coinbase_host, "requests_per_minute": 1e6, **fields})
        return CoinbaseSource(settings, FixedClock(now), _caller("coinbase", settings, stopwatch))

    return make


@pytest.fixture(params=["alpaca", "coinbase"])
def make_source(request: pytest.FixtureRequest, make_alpaca: MakeSource, make_coinbase: MakeSource) -> MakeSource:
    """Both, one after the other: what a venue may do to us, either may."""
    return make_alpaca if request.param == "alpaca" else make_coinbase


def _caller(name: str, settings: AlpacaSettings | CoinbaseSettings, stopwatch: Stopwatch) -> Caller:
    return Caller(
        name,
        settings,
        settings.requests_per_minute,
        sleep=stopwatch.sleep,
        monotonic=stopwatch.monotonic,
        rng=random.Random(1),
    )
