"""One subject over one range of history, through the engine that the traders use, beside everybody and everything else.

A subject is a model (STUDY/TRIAL), `production`, `ensemble` (the best of the newest ones) or the name of a baseline.
Models trade under the traders' rules, baselines under none, and all of them pay the same costs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from cappuccino.arena.candidate import Candidate, load_candidate
from cappuccino.clock import require_utc
from cappuccino.errors import ConfigError, DataError, UnknownName
from cappuccino.market.inputs import NO_INPUTS
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray, as_datetime, as_datetime64
from cappuccino.portfolio.measures import Measures
from cappuccino.registry.identity import ModelId
from cappuccino.registry.version import code_version
from cappuccino.risk.rules import Rules
from cappuccino.rl.agent import Market
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader, Warehouse
from cappuccino.validation.attribution import by_cost, by_factor, by_symbol
from cappuccino.validation.baselines import BASELINES, MOMENTUM_DAYS, benchmark_returns, run_baselines
from cappuccino.validation.evaluate import EpisodeResult, run
from cappuccino.validation.market_fit import MarketFit, fit_market
from cappuccino.validation.seal import sealed_from
from cappuccino.validation.timing import N_PERMUTATIONS, Comparison, compare_timing
from cappuccino.validation.trades import fills_of, trades_of

PRODUCTION, ENSEMBLE = "production", "ensemble"
_SOME = 5
Say = Callable[[str], None]


@dataclass(frozen=True)
class Subject:
    """Who is tested: a model, or a baseline."""

    name: str
    """STUDY/TRIAL, or the baseline's."""
    market: Market
    history_bars: int
    """Bars that suffice to decide on the newest of them."""
    candidate: Candidate | None

    @property
    def model(self) -> ModelId | None:
        return self.candidate.manifest.model if self.candidate else None

    @property
    def trained(self) -> tuple[datetime, datetime] | None:
        """The range of bars that it was trained on; None for who learns nothing."""
        manifest = self.candidate.manifest if self.candidate else None
        return (manifest.train_start, manifest.train_end) if manifest else None

    @property
    def unseen_from(self) -> datetime | None:
        """The first moment from which on it may be judged; None for who learns nothing."""
        if self.candidate is None:
            return None
        return self.candidate.manifest.unseen_from

    def in_sample_frac(self, start: datetime, stop: datetime) -> float:
        """Return the share of a range that it was trained on."""
        if self.trained is None:
            return 0.0
        first, last = self.trained
        return max((min(stop, last) - max(start, first)) / (stop - start), 0.0)


@dataclass(frozen=True)
class Stretch:
    """The bars of a subject's market with the history before the range; decisions begin at the close of `row`."""

    panel: BarPanel
    row: int
    is_simulated: bool

    @property
    def start(self) -> datetime:
        """When the account is opened: the close of the first decision."""
        return as_datetime(self.panel.closed_at[self.row])

    @property
    def stop(self) -> datetime:
        return as_datetime(self.panel.closed_at[-1])


def run_name(subject: Subject, settings: Settings, stretch: Stretch, asked: object) -> str:
    """Return a name that is the same for the same subject, range and settings, and for what else was `asked`."""
    panel, start, stop = stretch.panel, stretch.start, stretch.stop
    what: list[object] = [subject.name, panel.interval, panel.symbols, start.isoformat(), stop.isoformat()]
    what += [decisive(settings), settings.training.seed, asked]
    digest = hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=4).hexdigest()
    return f"{subject.name.replace('/', '-')}-{start:%Y%m%d}-{stop:%Y%m%d}-{digest}"


def decisive(settings: Settings) -> dict[str, Any]:
    """Return the settings that decide how a subject trades."""
    return settings.model_dump(mode="json", include={"costs", "risk", "sandbox"})


@dataclass(frozen=True)
class Backtest:
    """What became of a subject on a stretch of its bars, and of all others beside it."""

    subject: Subject
    settings: Settings
    stretch: Stretch
    episode: EpisodeResult
    account: int
    """The subject's place in `episode`."""
    baselines: EpisodeResult
    comparisons: tuple[Comparison, ...]
    n_permutations: int

    @property
    def panel(self) -> BarPanel:
        return self.stretch.panel

    @property
    def row(self) -> int:
        """The row at whose close the first decision is taken."""
        return self.stretch.row

    @property
    def is_simulated(self) -> bool:
        return self.stretch.is_simulated

    @property
    def start(self) -> datetime:
        """When the account was opened: the close of the first decision."""
        return self.stretch.start

    @property
    def stop(self) -> datetime:
        return self.stretch.stop

    @property
    def cash_usd(self) -> float:
        return float(self.episode.equity_usd[0, self.account])

    @cached_property
    def name(self) -> str:
        """The same for the same subject, range and settings."""
        return run_name(self.subject, self.settings, self.stretch, self.n_permutations)

    @cached_property
    def market_returns(self) -> FloatArray:
        """(T,) of equal-weight buy-and-hold without costs."""
        return benchmark_returns(self.panel, self.row, len(self.panel))

    @cached_property
    def measures(self) -> dict[str, Measures]:
        """The subject's, then those of each baseline that is another one."""
        found = {self.subject.name: self.episode.measures(self.account, self.market_returns)}
        beside = {name: self.baselines.measures(n, self.market_returns) for n, name in enumerate(BASELINES)}
        return found | {name: measures for name, measures in beside.items() if name != self.subject.name}

    @cached_property
    def fit(self) -> MarketFit:
        return fit_market(self.episode.returns[:, self.account], self.market_returns, self.panel.interval)

    @cached_property
    def fills(self) -> pl.DataFrame:
        return fills_of(self.episode, self.panel, self.row, self.account)

    @cached_property
    def trades(self) -> pl.DataFrame:
        return trades_of(self.episode, self.panel, self.row, self.account)

    @cached_property
    def by_symbol(self) -> pl.DataFrame:
        return by_symbol(self.episode, self.panel, self.row, self.account)

    @cached_property
    def by_factor(self) -> pl.DataFrame:
        return by_factor(self.episode, self.panel, self.row, self.account)

    @cached_property
    def by_cost(self) -> pl.DataFrame:
        return by_cost(self.episode, self.panel, self.row, self.account)

    @cached_property
    def code_version(self) -> str:
        return code_version()


def backtest(
    subject: str,
    warehouse: Warehouse,
    settings: Settings,
    now: datetime,
    start: datetime | None = None,
    stop: datetime | None = None,
    *,
    interval: Interval | None = None,
    n_permutations: int = N_PERMUTATIONS,
    say: Say = lambda _: None,
) -> Backtest:
    """Run `subject` over the bars that closed in [start, stop], which it may know at `now`; nothing is stored.

    Without `start` a model begins where its training ended, a baseline as soon as all of them can decide. Without
    `stop` the range ends at the newest bar that is not sealed: no model sees the holdout of its study before that has
    been opened. `interval` is for baselines, models have their own. Raises UnknownName for a subject that does not
    exist, ArtifactError for one that is damaged, ConfigError for an empty or sealed range, DataError for one without
    bars or history, or with too many filled bars.
    """
    chosen = find_subject(subject, warehouse, settings, interval)
    with warehouse.read() as reader:
        seal = sealed_from(reader, chosen.model) if chosen.model else None
    end = _end(stop, now, seal)
    start = require_utc(start) if start else chosen.unseen_from
    stretch = stretch_of(chosen, warehouse, settings, start, end, is_end_asked=stop is not None)
    panel, row = stretch.panel, stretch.row
    rules, seed, cash_usd = Rules.of(settings.risk, settings.costs), settings.training.seed, settings.sandbox.cash_usd
    say(f"{chosen.name}: {len(panel) - row - 1:,} {panel.interval} bars of {len(panel.symbols)} symbols")
    beside = run_baselines(panel, row, len(panel), rules, seed=seed, cash_usd=cash_usd)
    if chosen.candidate is None:
        episode, account = beside, list(BASELINES).index(chosen.name)
    else:
        policy = chosen.candidate.policy(panel)
        episode, account = run(policy, panel, row, len(panel), rules, cash_usd=cash_usd), 0
    say(f"beside itself at {n_permutations:,} other times, entries and symbols")
    comparisons = compare_timing(episode, panel, row, rules, seed=seed, n_permutations=n_permutations, account=account)
    return Backtest(
        subject=chosen,
        settings=settings,
        stretch=stretch,
        episode=episode,
        account=account,
        baselines=beside,
        comparisons=comparisons,
        n_permutations=n_permutations,
    )


def stretch_of(
    chosen: Subject,
    warehouse: Warehouse,
    settings: Settings,
    start: datetime | None,
    end: datetime,
    *,
    is_end_asked: bool,
) -> Stretch:
    """Return the bars that closed in [start, end] with the history before them; raises as `backtest` does.

    Without `start` it begins as soon as all baselines can decide.
    """
    if start is not None and start >= end:
        raise ConfigError(_empty(chosen, start, end, asked=is_end_asked))
    panel, is_simulated = _bars(warehouse, chosen.market, chosen.history_bars, start, end)
    row = _first_row(panel, chosen, start)
    _require_range(panel, row, end if is_end_asked else None)
    _require_traded(panel, row, settings.market.max_filled_frac)
    return Stretch(panel, row, is_simulated)


def find_subject(subject: str, warehouse: Warehouse, settings: Settings, interval: Interval | None = None) -> Subject:
    """Return who is meant; raises UnknownName with who there is, ArtifactError when a model is damaged."""
    if subject in BASELINES:
        with warehouse.read() as reader:
            market = _usual_market(reader, settings)
        return Subject(subject, replace(market, interval=interval or market.interval), 1, None)
    with warehouse.read() as reader:
        model = _model(reader, subject)
    candidate = load_candidate(settings.artifacts, model)
    if interval is not None and interval is not candidate.interval:
        raise ConfigError(f"model {model} trades {candidate.interval} bars; leave out the interval {interval}")
    return Subject(str(model), candidate.market, candidate.history_bars, candidate)


def _model(reader: Reader, subject: str) -> ModelId:
    if subject == PRODUCTION:
        found = reader.one("select study, trial from promotion.production")
        if found is None:
            raise UnknownName(f"no model is in production now; {_known(reader)}")
        return ModelId(*found)
    if subject == ENSEMBLE:
        found = reader.one(
            """
            select study, trial from lab.trials inner join lab.studies using (study)
            where lab.studies.kind = 'ensemble' and artifact is not null
            order by as_of_utc desc, score desc nulls last, trial limit 1
            """
        )
        if found is None:
            raise UnknownName(f"there is no ensemble yet; {_known(reader)}")
        return ModelId(*found)
    if "/" not in subject:
        raise UnknownName(f"nobody is called {subject!r}; {_known(reader)}")
    model = ModelId.parse(subject)
    trained = reader.one(
        "select 1 from lab.trials where study = $study and trial = $trial and artifact is not null",
        study=model.study,
        trial=model.trial,
    )
    if trained is None:
        raise UnknownName(f"no trained model {model}; {_known(reader)}")
    return model


def _known(reader: Reader) -> str:
    rows = reader.query(
        "select study || '/' || trial as model from lab.trials where artifact is not null order by score desc, model"
    )
    models = ", ".join(rows["model"].head(_SOME)) or "none yet"
    return f"the best models are: {models}; baselines: {', '.join(BASELINES)}; or {PRODUCTION}, {ENSEMBLE}"


def _usual_market(reader: Reader, settings: Settings) -> Market:
    """Return the market of the newest training; without one the configured symbols, or all that there are bars of."""
    newest = reader.one(
        "select interval, symbols from lab.studies where kind = 'training' order by as_of_utc desc, study desc limit 1"
    )
    if newest:
        return Market(Interval(newest[0]), tuple(newest[1]), NO_INPUTS)
    known = reader.query(
        """
        select symbol, max(epoch_us(closed_at_utc) - epoch_us(opened_at_utc)) as length_us
        from market.bars group by symbol order by symbol
        """
    )
    lengths = set(known["length_us"])
    base = next((each for each in Interval if each.us in lengths), settings.market.base_interval)
    wanted = settings.market.symbols
    symbols = wanted if known.is_empty() or set(wanted) <= set(known["symbol"]) else tuple(known["symbol"])
    return Market(base, symbols, NO_INPUTS)


def _end(stop: datetime | None, now: datetime, seal: datetime | None) -> datetime:
    if stop is None:
        return now if seal is None else min(now, seal)
    stop = require_utc(stop)
    if stop > now:
        raise ConfigError(f"--to {stop:%F %R} has not come yet; choose {now:%F %R} or earlier")
    if seal is not None and stop > seal:
        raise ConfigError(
            f"bars from {seal:%F %R} UTC on are the holdout, which is sealed until `cappuccino materialize "
            f"lab/holdouts` opens it for good: --to {stop:%F %R} would look into it; choose {seal:%F %R} or earlier"
        )
    return stop


def _empty(subject: Subject, start: datetime, end: datetime, *, asked: bool) -> str:
    if subject.unseen_from == start and not asked:
        return (
            f"{subject.name} was trained on bars until {start:%F %R} UTC, lookback included, and nothing after them is "
            f"open before {end:%F %R}; choose --from, and read what it says about bars that were trained on"
        )
    return f"a backtest from {start:%F %R} to {end:%F %R} UTC has no length; choose an earlier --from"


def _bars(
    warehouse: Warehouse, market: Market, history_bars: int, start: datetime | None, end: datetime
) -> tuple[BarPanel, bool]:
    """Return the bars with the history that the first decision needs, and whether they are invented.

    Where it is there, also what momentum and the other baselines look back on, so that they do what they do elsewhere.
    """
    # A bar of room: the first decision may be taken inside the one that `start` falls into.
    history = max(history_bars, MOMENTUM_DAYS * market.interval.per_day) + 1
    first = start - history * market.interval.duration if start else None
    with warehouse.read() as reader:
        panel = market.panel(reader, end, first)
        invented = reader.one("select count(*) from market.freshness where source = 'simulated'")
    return panel, bool(invented and invented[0])


def _first_row(panel: BarPanel, subject: Subject, start: datetime | None) -> int:
    """Return the row of the first decision; raises DataError when what it needs does not lie before it."""
    needed = subject.history_bars
    if len(panel) < needed + 1:
        raise DataError(
            f"{subject.name} needs {needed:,} {panel.interval} bars before its first trade, and there are "
            f"{len(panel):,}, from {panel.opened_at[0]} UTC on; sync a longer range"
        )
    if start is None:
        return min(MOMENTUM_DAYS * panel.interval.per_day, len(panel) // 2)
    row = int(np.searchsorted(panel.closed_at, as_datetime64(start)))
    if panel.opened_at[0] >= as_datetime64(start) or row + 1 < needed:
        raise DataError(
            f"{subject.name} needs {needed:,} {panel.interval} bars up to {start:%F %R} UTC, and they begin at "
            f"{panel.opened_at[0]}; choose --from {as_datetime(panel.closed_at[needed - 1]):%FT%RZ} or later, "
            "or sync earlier bars"
        )
    return row


def _require_range(panel: BarPanel, row: int, asked_end: datetime | None) -> None:
    last = as_datetime(panel.closed_at[-1])
    if asked_end is not None and asked_end - last >= panel.interval.duration:
        raise DataError(
            f"the {panel.interval} bars of {', '.join(panel.symbols)} end at {last:%F %R} UTC, before --to "
            f"{asked_end:%F %R}; sync later bars, or choose an earlier --to"
        )
    if row > len(panel) - 3:
        raise DataError(
            f"there are {max(len(panel) - row - 1, 0)} {panel.interval} bars to trade until {last:%F %R} UTC; give at "
            "least two"
        )


def _require_traded(panel: BarPanel, row: int, max_filled_frac: float) -> None:
    filled = panel.is_filled[row:].mean(axis=0)
    if filled.mean() > max_filled_frac:
        worst = int(filled.argmax())
        raise DataError(
            f"{filled.mean():.2%} of the bars are filled, more than market.max_filled_frac {max_filled_frac:.2%} "
            f"(most of {panel.symbols[worst]}: {filled[worst]:.2%}); nothing traded there, choose another range"
        )
