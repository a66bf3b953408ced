"""Our learner on the planted market, as a program like the peers': a task in, updates and evaluations out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from planted import Planted, planted_market, rules, score
from products import Products, flops, seconds, seconds_of

from cappuccino.rl import runner
from cappuccino.rl.agent import Decider
from cappuccino.rl.compute import Compute
from cappuccino.rl.figures import Figures
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.learning import Budget, Learning


@dataclass(frozen=True)
class OwnTask:
    """One training of ours."""

    result: str
    """JSON file to write."""
    n_days: int
    n_symbols: int
    market_seed: int
    lookback: int
    seed: int
    n_threads: int
    hyper: Hyper
    budget: Budget
    precision: Literal["float32", "bfloat16"]
    evaluate_every_updates: int = 0
    """0 = never."""
    counts_products: bool = False
    """Also count the matrix products of the first update and measure what they would take alone."""

    @classmethod
    def read(cls, file: Path) -> OwnTask:
        values = json.loads(file.read_text())
        hyper, budget = Hyper.from_dict(values["hyper"]), Budget(**values["budget"])
        return cls(**{**values, "hyper": hyper, "budget": budget})

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self)))


class Watch:
    """The diary of one training: `learn` in its place, with the clock stopped while a policy is looked at."""

    def __init__(self, task: OwnTask, market: Planted, learn: runner.Learn) -> None:
        self.task, self.market, self.learn = task, market, learn
        self.products = Products()
        self.started_s, self.looking_s = time.perf_counter(), 0.0
        self.updates: list[dict[str, float]] = []
        self.evaluations: list[dict[str, float]] = []

    def __call__(self, learning: Learning, *others: Any) -> Figures:
        if self.task.counts_products and not self.updates:
            with self.products:
                figures = self.learn(learning, *others)
        else:
            figures = self.learn(learning, *others)
        n_done = len(self.updates) + 1
        train_s = time.perf_counter() - self.started_s - self.looking_s
        n_steps = n_done * runner.env_steps_of_update(self.task.budget)
        self.updates.append({"n_steps": n_steps, "train_s": train_s, "n_epochs": figures.n_epochs})
        every = self.task.evaluate_every_updates
        if every and (n_done % every == 0 or n_done == self.task.budget.updates):
            self._evaluate(learning)
        return figures

    def _evaluate(self, learning: Learning) -> None:
        started_s = time.perf_counter()
        reached = score(self.market, Decider(learning.policy, self.market.arrays, self.task.hyper))
        self.evaluations.append({**self.updates[-1], "score": reached})
        self.looking_s += time.perf_counter() - started_s

    def content(self) -> dict[str, Any]:
        return {"updates": self.updates, "evaluations": self.evaluations, "evaluation_s": self.looking_s}


def product_figures(products: Products, n_steps: int) -> dict[str, float]:
    """Return the FLOPs of a step and, for each type, the largest product's rate and the limit of all products."""
    largest = max(products.shapes, key=lambda shape: products.shapes[shape] * flops(shape))
    figures: dict[str, float] = {"flops_per_step": products.flops / n_steps}
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        figures[f"{name}_flops_per_s"] = flops(largest) / seconds(largest, kind)
        figures[f"{name}_limit_steps_per_s"] = n_steps / seconds_of(products.shapes, kind)
    return figures


def train(task: OwnTask) -> dict[str, Any]:
    torch.set_num_threads(task.n_threads)
    market = planted_market(task.n_days, task.n_symbols, task.market_seed)
    watch = Watch(task, market, runner.LEARNERS[task.hyper.learner])
    _replace_learner(task.hyper.learner, watch)
    watch.started_s = time.perf_counter()
    segments, compute = (market.range_for(task.lookback),), Compute("cpu", task.precision)
    runner.train(
        market.arrays,
        segments,
        task.lookback,
        task.hyper,
        task.budget,
        rules(),
        task.seed,
        compute=compute,
    )
    content = watch.content()
    if task.counts_products:
        content["products"] = product_figures(watch.products, runner.env_steps_of_update(task.budget))
    return content


def _replace_learner(name: str, learn: Callable[..., Figures]) -> None:
    """Let `train` call `learn`: it hands its policy to learners only."""
    runner.LEARNERS = {**runner.LEARNERS, name: learn}


def main() -> None:
    task = OwnTask.read(Path(sys.argv[1]))
    Path(task.result).write_text(json.dumps(train(task)))


if __name__ == "__main__":
    main()
