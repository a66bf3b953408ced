"""The trader's decision against the clock, and its memory over two days.

Run with `make bench` or `python benchmarks/bench_trader.py`; `--quick` measures fewer decisions and 6 hours. An
ensemble of 10 untrained networks (width 128, all default features) trades 7 symbols of the simulated market on windows
of 180 bars, on a virtual clock: everything is real but the venue, the passing of time, and what the networks know.

Latency: milliseconds from the moment at which bars are there until orders are recorded and sent, by part; the median of
consecutive bars. The peer is the same ensemble asked the plain way, member by member, each with features of its own,
on the same bars in the same run; the ratio is its time over ours, above 1 is better for us. Both begin with a panel
that nobody has looked at, and end with the same bits.

Memory: resident memory, open files and the longest poll of each virtual hour, polls a minute apart, in a process of its
own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from apart import apart

from cappuccino.arena.candidate import load_candidate
from cappuccino.ensemble.agent import Ensemble
from cappuccino.ensemble.document import Document, Member, to_json
from cappuccino.ensemble.log import VoteLog
from cappuccino.ensemble.seasons import Recall
from cappuccino.ensemble.votes import equal_shares, outcome
from cappuccino.env.wish import Wish
from cappuccino.features.scaler import Scaler
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.interval import DAY, Interval
from cappuccino.market.panel import BarPanel
from cappuccino.market.simulated import SimulatedSource
from cappuccino.portfolio.account import Accounts
from cappuccino.registry import artifacts
from cappuccino.registry.identity import ModelId
from cappuccino.registry.manifest import Manifest, ManifestFeatures
from cappuccino.rl.agent import FeatureAgent
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.model import Policy
from cappuccino.rl.runner import policy_shape
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.trading import deciding, decision
from cappuccino.trading.dealing import Dealer
from cappuccino.trading.feed import Feed
from cappuccino.trading.floor import Floor, need_of
from cappuccino.trading.ledger import Ledger
from cappuccino.trading.roster import Place, Roster
from cappuccino.trading.simulated_quotes import SimulatedQuotes
from cappuccino.trading.staff import Permitted
from cappuccino.trading.trader import Trader
from cappuccino.trading.voice import Voice
from cappuccino.watch.processes import size_of

START = datetime(2025, 3, 3, tzinfo=UTC)
LOOKBACK, WIDTH, N_MEMBERS = 180, 128, 10
MODEL = ModelId("ensemble", 1)
PARTS = ("quotes", "bars synced", "panel", "features", "votes", "engine", "ledger", "sending", "rest", "explanation")


@dataclass
class VirtualClock:
    """Time that passes when somebody sleeps."""

    at: datetime

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def save_ensemble(settings: Settings, interval: Interval) -> None:
    """Store 10 networks of random weights, and the mean of their votes."""
    spec, symbols = FeatureSpec.from_settings(settings.features), settings.market.symbols
    hyper, n_features = Hyper(width=WIDTH, no_trade_band=0.0), len(spec.names)
    shape = (len(symbols), n_features)
    # Scales that are too small make an untrained network restless: there are orders to send.
    scaler = Scaler(np.zeros(shape), np.full(shape, 0.1), spec.names, symbols)
    manifests = []
    for trial in range(N_MEMBERS):
        policy = Policy(policy_shape(len(symbols), n_features, LOOKBACK, hyper), torch.Generator().manual_seed(trial))
        manifest = Manifest(
            study="networks",
            trial=trial,
            hyper=dict(hyper.to_dict()),
            features=ManifestFeatures(spec.indicators, spec.extras, spec.names),
            scaler=scaler.to_dict(),
            symbols=symbols,
            interval=interval,
            lookback=LOOKBACK,
            data_start=START - 60 * DAY,
            data_end=START,
            train_start=START - 60 * DAY,
            train_end=START - 30 * DAY,
            data_fingerprint="none",
            code_version="none",
            learner="none",
            simulated=True,
            metrics={},
        )
        state = policy.state_dict()
        state["actor_out.weight"] = 100.0 * state["actor_out.weight"]
        folder = artifacts.folder_of(settings.artifacts, manifest.model)
        manifests.append(artifacts.save(folder, manifest, state))
    members = tuple(
        Member(one.study, one.trial, one.weight_sha256, 1.0, share)
        for one, share in zip(manifests, equal_shares(N_MEMBERS).tolist(), strict=True)
    )
    wish = Wish(max_weight=0.3, cash_reserve=0.0, no_trade_band=0.0)
    document = Document("mean", wish, Recall(reward_bars=12, drop_every_bars=4, keep=2), members)
    manifest = replace(manifests[0], study=MODEL.study, trial=MODEL.trial, learner="ensemble", scaler={})
    artifacts.save_document(artifacts.folder_of(settings.artifacts, MODEL), manifest, to_json(document))


@contextmanager
def desk(folder: Path, interval: Interval) -> Iterator[tuple[Trader, VirtualClock]]:
    """Yield a trader on the simulated market with one ensemble in production."""
    settings = Settings(
        profile="paper", warehouse=folder, risk={"conviction": {"min_score": 0.0}}, trader={"settle_s": 0.0}
    )
    save_ensemble(settings, interval)
    clock, source, ledger = VirtualClock(START), SimulatedSource(settings.simulated.seed), Ledger(settings.desk)
    main, quotes = Warehouse(settings.database), SimulatedQuotes(source, clock)
    feed = Feed(settings.desk, main, source, quotes, settings.market, settings.trader)
    voice = Voice(ledger, settings.alerts, clock, lambda alert: None)
    floor = Floor(settings, ledger, feed, (), clock=clock, voice=voice, sleep=clock.sleep)
    roster = Roster((Place(MODEL, "production", START),), (), {})
    try:
        yield Trader(floor, lambda: roster, lambda account, now: Permitted(None, 0.0, ("no",))), clock
    finally:
        ledger.close()


class Parts:
    """Seconds that each part took by itself, without the parts that it called."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._open: list[tuple[str, float]] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block; what it calls counts as `name` too where that is the explanation."""
        if self._open and self._open[-1][0] == "explanation":
            yield
            return
        self._count()
        self._open.append((name, time.perf_counter()))
        try:
            yield
        finally:
            self._count()
            self._open.pop()
            if self._open:
                self._open[-1] = (self._open[-1][0], time.perf_counter())

    def _count(self) -> None:
        if self._open:
            name, since_s = self._open[-1]
            self.seconds[name] += time.perf_counter() - since_s
            self._open[-1] = (name, time.perf_counter())

    def watch(self, owner: Any, name: str, part: str) -> None:
        """Count every call of `owner.name` from now on."""
        original: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **options: Any) -> Any:
            with self.part(part):
                return original(*args, **options)

        setattr(owner, name, timed)

    def watch_writes(self) -> None:
        """Count transactions of the ledger."""
        original = Ledger.write

        @contextmanager
        def timed(ledger: Ledger) -> Iterator[Any]:
            with self.part("ledger"), original(ledger) as entry:
                yield entry

        Ledger.write = timed  # type: ignore[assignment, method-assign]


def watched() -> Parts:
    """Return the parts of whatever is decided from now on in this process."""
    parts = Parts()
    for owner, name, part in (
        (Feed, "quotes", "quotes"),
        (Feed, "update", "bars synced"),
        (Feed, "panel", "panel"),
        (FeatureAgent, "scaled", "features"),
        (VoteLog, "__call__", "votes"),
        (decision, "on_bar", "engine"),
        (deciding, "conditions_of", "engine"),
        (deciding, "explain", "explanation"),
        (Dealer, "work", "sending"),
        (Ledger, "rows", "ledger"),
        (Ledger, "row", "ledger"),
    ):
        parts.watch(owner, name, part)
    parts.watch_writes()
    return parts


@dataclass(frozen=True)
class Latency:
    """One interval's decisions, in milliseconds: the median of each part."""

    parts: dict[str, float]
    n_orders: int
    ours: float
    peer: float


def latency(interval: Interval, n_decisions: int) -> Latency:
    """Return how long decisions take, on bars of `interval`."""
    torch.set_num_threads(1)
    found: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, desk(Path(folder), interval) as (trader, clock):
        trader.poll()  # loads the models and all bars
        parts = watched()
        for _ in range(n_decisions):
            clock.sleep(interval.duration.total_seconds())
            parts.seconds.clear()
            with parts.part("rest"):
                trader.poll()
            for name in PARTS:
                found[name].append(1e3 * parts.seconds[name])
        rows = trader.floor.ledger.rows("select count(*) as n from orders")
        decided = trader.floor.ledger.rows("select count(*) as n from decisions where kind = 'bar'")
        assert decided[0]["n"] == n_decisions + 1, trader.floor.voice.troubles
        ours, peer = _against_peer(trader, clock, n_decisions)
    medians = {name: statistics.median(values) for name, values in found.items()}
    return Latency(medians, rows[0]["n"], ours, peer)


def _against_peer(trader: Trader, clock: VirtualClock, n_times: int) -> tuple[float, float]:
    """Return milliseconds of the ensemble's decision, ours and the plain one; their targets are the same bits."""
    floor = trader.floor
    (account,) = floor.accounts.values()
    ensemble = load_candidate(floor.settings.artifacts, MODEL)
    assert isinstance(ensemble, Ensemble)
    panel = floor.feed.panel(need_of(ensemble), account.interval.floor(clock.now()), clock.now())
    mine = partial(_ours, ensemble, panel, account.state)
    plain = partial(_plainly, ensemble, panel, account.state)
    assert torch.equal(mine(), plain())
    seconds = [(_seconds(mine), _seconds(plain)) for _ in range(n_times)]
    ours, peer = zip(*seconds, strict=True)
    return 1e3 * statistics.median(ours), 1e3 * statistics.median(peer)


def _ours(ensemble: Ensemble, panel: BarPanel, accounts: Accounts) -> torch.Tensor:
    return ensemble.policy(panel.rows(0, len(panel)))(len(panel) - 1, accounts)


def _plainly(ensemble: Ensemble, panel: BarPanel, accounts: Accounts) -> torch.Tensor:
    """Return the targets of members that are asked one by one, each on a panel that nobody has looked at."""
    t, votes = len(panel) - 1, []
    for member in ensemble.members:
        own = panel.rows(0, len(panel))
        votes.append(member.policy(own).action(t, accounts).double())  # type: ignore[attr-defined]
    assembly = ensemble.policy(panel)
    ballot = replace(assembly.ballot(t, accounts), votes=torch.stack(votes))
    return assembly.targets(outcome("mean", ballot), t, accounts)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@dataclass(frozen=True)
class Hour:
    """The process at the end of one virtual hour."""

    memory_mb: float
    open_files: int
    longest_poll_ms: float
    usual_poll_ms: float
    n_decisions: int


def memory(n_hours: int) -> list[Hour]:
    """Return what a process takes that trades 15m bars, polls a minute apart."""
    torch.set_num_threads(1)
    hours = []
    with tempfile.TemporaryDirectory() as folder, desk(Path(folder), Interval.M15) as (trader, clock):
        for _ in range(n_hours):
            polls = []
            for _ in range(60):
                polls.append(1e3 * _seconds(trader.poll))
                clock.sleep(60)
            decided = trader.floor.ledger.rows("select count(*) as n from decisions where kind = 'bar'")
            size = size_of(os.getpid())
            assert size is not None
            hours.append(Hour(size.memory_mb, size.open_files, max(polls), statistics.median(polls), decided[0]["n"]))
    return hours


def show_latency(interval: Interval, found: Latency) -> None:
    until_sent = sum(value for name, value in found.parts.items() if name != "explanation")
    print(f"\n{interval} bars: one decision, milliseconds (median), {found.n_orders} orders in all")
    for name in PARTS:
        print(f"  {name:>24} {found.parts[name]:9.1f}")
    print(f"  {'bars there until sent':>24} {until_sent:9.1f}")
    print(f"  {'with the explanation':>24} {until_sent + found.parts['explanation']:9.1f}")
    print(
        f"  {'ensemble alone':>24} {found.ours:9.1f}   plainly {found.peer:.1f}   ratio {found.peer / found.ours:.2f}"
    )


def show_memory(hours: list[Hour]) -> None:
    print(
        f"\n{'hour':>5} {'memory MB':>10} {'open files':>10} {'decisions':>10} {'usual poll ms':>14} {'longest ms':>11}"
    )
    for n, hour in enumerate(hours, start=1):
        print(
            f"{n:5} {hour.memory_mb:10.1f} {hour.open_files:10} {hour.n_decisions:10} {hour.usual_poll_ms:14.1f} "
            f"{hour.longest_poll_ms:11.0f}"
        )
    settled = hours[len(hours) // 4 :]
    slope = np.polyfit(np.arange(len(settled)), [hour.memory_mb for hour in settled], 1)[0]
    grown = settled[-1].memory_mb - settled[0].memory_mb
    print(f"after the first quarter: {slope:+.2f} MB an hour, {grown:+.1f} MB in all", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 decisions of each interval, 6 hours of memory")
    quick = parser.parse_args().quick
    for interval in (Interval.M15, Interval.H1):
        show_latency(interval, apart(latency, interval, 3 if quick else 15).result)
    show_memory(apart(memory, 6 if quick else 48).result)


if __name__ == "__main__":
    main()
