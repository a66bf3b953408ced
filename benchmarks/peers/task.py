"""What a learner is asked to do and what it hands back: a JSON file in, a JSON file and an array file out."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from market_env import Bars, MarketEnv, Observations, Terms, play


@dataclass(frozen=True)
class Task:
    """One training of a peer."""

    market: str
    """Array file of the planted market."""
    result: str
    """JSON file to write; the plays lie beside it, ending in .npz."""
    lookback: int
    n_steps: int
    evaluate_every_steps: int
    """0 = never."""
    seed: int
    n_threads: int
    terms: Terms
    n_envs: int = 8
    rollout_bars: int = 256
    """Bars of each environment between two updates."""
    batch_size: int = 512
    epochs: int = 10
    width: int = 256
    learning_rate: float = 3e-4
    discount: float = 0.97
    gae_lambda: float = 0.9
    log_std: float = -1.2
    """Exploration at the start; the libraries' own 0 pays so much for white noise that holding cash wins."""
    first_action: float = 0.25
    """Mean action at the start, ours too: at 0 half of the noise asks for nothing and earns nothing."""
    clip: float = 0.2
    entropy_weight: float = 0.0
    max_grad_norm: float = 0.5

    @classmethod
    def read(cls) -> Task:
        """Return the task whose file is the program's one argument."""
        values = json.loads(Path(sys.argv[1]).read_text())
        return cls(**{**values, "terms": Terms(**values["terms"])})

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self)))

    @property
    def n_updates(self) -> int:
        return -(-self.n_steps // (self.n_envs * self.rollout_bars))

    def env(self, n: int, seed: int) -> MarketEnv:
        return MarketEnv(Bars.load(self.market), self.lookback, self.terms, n, seed)


class Diary:
    """Training time without evaluations, one line after every update; the first line is the warm-up."""

    def __init__(self, task: Task) -> None:
        self.task, self.bars = task, Bars.load(task.market)
        self.started_s, self.evaluation_s = time.perf_counter(), 0.0
        self.updates: list[dict[str, float]] = []
        self.evaluations: list[dict[str, float]] = []
        self.plays: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]] = []

    def updated(self, n_steps: int, act: Callable[[Observations], npt.NDArray[np.floating]]) -> None:
        """Note that `n_steps` are trained in all, and evaluate the deterministic policy `act` when it is due."""
        line = {"n_steps": n_steps, "train_s": time.perf_counter() - self.started_s - self.evaluation_s}
        self.updates.append(line)
        every = self.task.evaluate_every_steps
        due = every and n_steps >= every * (len(self.evaluations) + 1)
        if due or (every and n_steps >= self.task.n_steps):
            started_s = time.perf_counter()
            self.plays.append(play(act, self.bars, self.task.lookback, self.task.terms))
            self.evaluations.append(line)
            self.evaluation_s += time.perf_counter() - started_s

    def write(self, **others: Any) -> None:
        file = Path(self.task.result)
        if self.plays:
            actions, equity_usd = zip(*self.plays, strict=True)
            np.savez(file.with_suffix(".npz"), actions=np.stack(actions), equity_usd=np.stack(equity_usd))
        content = {"updates": self.updates, "evaluations": self.evaluations, "evaluation_s": self.evaluation_s}
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps({**content, **others}))
        os.replace(partial, file)  # noqa: PTH105 - a whole result or none
