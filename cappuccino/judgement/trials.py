"""Models on bars that nobody chose them by: measures, and for the best of them the comparison with chance."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import torch

from cappuccino.arena.candidate import load_candidate
from cappuccino.errors import DataError
from cappuccino.market.panel import BarPanel, as_datetime, as_datetime64
from cappuccino.registry.identity import ModelId
from cappuccino.risk.rules import Rules
from cappuccino.validation.baselines import benchmark_returns
from cappuccino.validation.evaluate import EpisodeResult, run
from cappuccino.validation.market_fit import MarketFit, fit_market
from cappuccino.validation.timing import Comparison, compare_timing

IN_PARALLEL_FROM = 20_000
"""Decisions from which on processes are worth their start."""


@dataclass(frozen=True)
class Stretch:
    """Rows [start, stop) of a panel that models are judged on, and what they are called in the lab."""

    scope: str
    panel: BarPanel
    start: int
    stop: int

    @property
    def segment(self) -> tuple[int, int]:
        return self.start, self.stop

    @property
    def span(self) -> tuple[datetime, datetime]:
        return as_datetime(self.panel.opened_at[self.start]), as_datetime(self.panel.closed_at[self.stop - 1])

    def __len__(self) -> int:
        return self.stop - self.start


def stretch_of(scope: str, panel: BarPanel, since: datetime, until: datetime) -> Stretch:
    """Return the rows whose first decision is at the first close from `since` on and whose last close is by `until`.

    Raises DataError when there are fewer than two bars.
    """
    start = int(np.searchsorted(panel.closed_at, as_datetime64(since)))
    stop = int(np.searchsorted(panel.closed_at, as_datetime64(until), side="right"))
    if stop - start < 2:
        raise DataError(f"no two {panel.interval} bars between {since:%F %R} and {until:%F %R} UTC; sync bars")
    return Stretch(scope, panel, start, stop)


@dataclass(frozen=True)
class Skill:
    """Whether an account's gains came from when and what it bought, or from being there."""

    comparisons: tuple[Comparison, ...]
    fit: MarketFit


def play_all(
    models: Sequence[ModelId],
    artifacts: Path,
    stretch: Stretch,
    rules: Rules,
    workers: int,
    parallel_from: int = IN_PARALLEL_FROM,
) -> Iterator[EpisodeResult]:
    """Yield what each of `models` did on `stretch`, from cash, in their order; in processes when it is much."""
    if len(models) * len(stretch) < parallel_from or workers < 2:
        for model in models:
            yield play(model, artifacts, stretch, rules)
        return
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, context, _prepare, (artifacts, stretch, rules)) as pool:
        yield from pool.map(_play_here, models)


def play(model: ModelId, artifacts: Path, stretch: Stretch, rules: Rules) -> EpisodeResult:
    """Return what `model` did on `stretch`, from cash."""
    policy = load_candidate(artifacts, model).policy(stretch.panel)
    return run(policy, stretch.panel, *stretch.segment, rules)


def skill_of(episode: EpisodeResult, stretch: Stretch, rules: Rules, seed: int) -> Skill:
    """Return the comparison of an account with chance and with the market."""
    market = benchmark_returns(stretch.panel, *stretch.segment)
    comparisons = compare_timing(episode, stretch.panel, stretch.start, rules, seed=seed)
    return Skill(comparisons, fit_market(episode.returns[:, 0], market, stretch.panel.interval))


_here: list[tuple[Path, Stretch, Rules]] = []


def _prepare(artifacts: Path, stretch: Stretch, rules: Rules) -> None:
    torch.set_num_threads(1)
    _here.append((artifacts, stretch, rules))


def _play_here(model: ModelId) -> EpisodeResult:
    return play(model, *_here[0])
