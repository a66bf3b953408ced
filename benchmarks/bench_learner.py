"""Our learners against Stable-Baselines3, ElegantRL and a compiled JAX loop, on one planted market, in one run.

    throughput   training steps a second, rollout and ten epochs, and the share of what the matrix products alone allow
    growth       our cost of a step against lookback, symbols and accounts
    quality      wall time until the validation score that Stable-Baselines3 ends with, and final scores

Run with `make bench` or `python benchmarks/bench_learner.py [--quick] [--only throughput|growth|quality]`; the peers'
environments come from `make peers`. Every training runs alone in a process of its own. Only ratios mean something.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import children
import numpy as np
import torch
from own_learner import OwnTask
from planted import INTERVAL, MAX_WEIGHT, Planted, hold, oracle, planted_market, rules, score

from cappuccino.env.wish import Wish
from cappuccino.portfolio.account import Accounts
from cappuccino.portfolio.measures import sharpe
from cappuccino.rl.hyper import Hyper, Learner
from cappuccino.rl.learning import Budget
from cappuccino.validation.evaluate import run

sys.path.append(str(children.PEERS))
from market_env import Terms
from task import Task

HYPER = Hyper()
PEERS = {"sb3": "Stable-Baselines3", "elegant_rl": "ElegantRL", "jax_loop": "JAX loop"}
OWN = children.HERE / "own_learner.py"
LOOKBACK = 60
LEARNERS: tuple[Learner, ...] = ("ppo", "apg")
WIDE = replace(HYPER, width=256, account_depth=2, view="every_bar", epochs=10, max_kl=math.inf, batch_size=8192)
"""The peers' widths and epochs: two layers of 256 over the market, the account joins in the second."""
NARROW = replace(HYPER, epochs=10, max_kl=math.inf, batch_size=8192)
"""The network of our defaults."""
MANY = Budget(updates=4, n_groups=8, n_accounts=256, horizon=32)
QUALITY = {
    "ppo": (replace(HYPER, batch_size=2048), Budget(updates=60, n_groups=16, n_accounts=32, horizon=32)),
    "apg": (
        replace(HYPER, learner="apg"),
        Budget(updates=60, n_groups=32, n_accounts=8, horizon=32),
    ),
}
"""What stands against Stable-Baselines3 for the score."""
EVALUATE_EVERY_UPDATES = 2
LAST = 3
"""Evaluations whose mean counts as a score: one alone may be luck."""
SAME_MONEY_FRAC = 1e-9
TIMEOUT_S = 5400.0


@dataclass(frozen=True)
class Setting:
    """What one run of this benchmark does."""

    n_threads: int
    n_days: int
    lookbacks: tuple[int, ...]
    n_seeds: int
    n_peer_updates: int
    """Of a throughput row; the first is the warm-up."""
    n_peer_steps: int
    """Until the score that is to be reached."""
    n_own_updates: int
    """Most of ours for a score."""
    n_sizes: int
    """Of everything that grows."""
    folder: Path
    """For the files of the trainings."""

    @property
    def n_between_evaluations(self) -> int:
        return self.n_peer_steps // 10


def full(n_threads: int, n_days: int, folder: Path) -> Setting:
    return Setting(n_threads, n_days, (20, 60, 180), 5, 6, 200_000, 1_000, 3, folder)


def quick(n_threads: int, n_days: int, folder: Path) -> Setting:
    """Return a smoke test: every program runs, no figure means anything."""
    return Setting(n_threads, n_days, (20,), 1, 2, 6_000, 12, 1, folder)


def peer_task(
    setting: Setting, name: str, market: Path, lookback: int, seed: int, n_steps: int, evaluate_every_steps: int = 0
) -> Path:
    """Write and return the task file of a peer: `market` is the array file, 0 evaluations every = none."""
    costs = rules().costs
    terms = Terms(
        max_weight=MAX_WEIGHT,
        no_trade_band=HYPER.no_trade_band,
        fee_frac=costs.fee_frac,
        slippage_frac=costs.slippage_frac,
        smallest_order_usd=costs.smallest_order_usd,
    )
    task = Task(
        market=str(market),
        result=str(setting.folder / f"{name}.json"),
        lookback=lookback,
        n_steps=n_steps,
        evaluate_every_steps=evaluate_every_steps,
        seed=seed,
        n_threads=setting.n_threads,
        terms=terms,
        discount=HYPER.discount,
        gae_lambda=HYPER.gae_lambda,
    )
    file = setting.folder / f"{name}.task"
    task.write(file)
    return file


def train_peer(setting: Setting, peer: str, task: Path) -> dict[str, Any]:
    program = children.PEERS / peer / "train.py"
    return children.run(children.python_of(peer), program, task, setting.n_threads, TIMEOUT_S)


def train_own(setting: Setting, name: str, lookback: int, hyper: Hyper, budget: Budget, **values: Any) -> Any:
    """Train ours in its own process; `values` are further fields of `OwnTask`."""
    usual = {"n_days": setting.n_days, "n_symbols": 7, "market_seed": 1, "seed": 1, "precision": "float32"}
    own = {"lookback": lookback, "hyper": hyper, "budget": budget, "n_threads": setting.n_threads}
    file = setting.folder / f"{name}.task"
    OwnTask(result=str(setting.folder / f"{name}.json"), **{**usual, **own, **values}).write(file)
    return children.run(sys.executable, OWN, file, setting.n_threads, TIMEOUT_S)


def rate(content: dict[str, Any]) -> float:
    """Return training steps a second after the first update."""
    first, last = content["updates"][0], content["updates"][-1]
    return float((last["n_steps"] - first["n_steps"]) / (last["train_s"] - first["train_s"]))


def show(*columns: tuple[str, int]) -> None:
    """Print the names of columns, each in its width."""
    print(*(f"{name:>{width}}" for name, width in columns))


def throughput(setting: Setting) -> list[dict[str, Any]]:
    print(f"\nTraining steps a second, ten epochs, {setting.n_threads} threads, {setting.n_days} days of bars")
    show(
        ("lookback", 8),
        ("learner", 32),
        ("steps/s", 10),
        ("x SB3", 7),
        ("kFLOP/step", 11),
        ("limit/s", 10),
        ("of it", 6),
    )
    market = planted_market(setting.n_days)
    market.save(setting.folder / "market.npz")
    rows: list[dict[str, Any]] = []
    for lookback in setting.lookbacks:
        sb3 = 0.0
        for row in _rates(setting, lookback):
            sb3 = sb3 or row["steps_per_s"]
            rows.append({**row, "times_sb3": row["steps_per_s"] / sb3})
            _show_rate(rows[-1])
    return rows


def _rates(setting: Setting, lookback: int) -> Iterator[dict[str, Any]]:
    """Yield one row a learner, Stable-Baselines3 first."""
    for peer, name in PEERS.items():
        n_steps = setting.n_peer_updates * 2048
        file = peer_task(setting, f"{peer}-{lookback}", setting.folder / "market.npz", lookback, 1, n_steps)
        yield {"lookback": lookback, "learner": name, "steps_per_s": rate(train_peer(setting, peer, file))}
    for name, hyper, precision in (
        ("ours, PPO, 256 x 2", WIDE, "float32"),
        ("ours, PPO, 256 x 2, bfloat16", WIDE, "bfloat16"),
        ("ours, PPO, default network", NARROW, "float32"),
        ("ours, APG, 256 x 2", replace(WIDE, learner="apg", epochs=1), "float32"),
    ):
        label = name.replace(",", "").replace(" ", "-")
        more = {"precision": precision, "counts_products": True}
        content = train_own(setting, f"{label}-{lookback}", lookback, hyper, MANY, **more)
        figures, last = content["products"], content["updates"][-1]
        assert last["n_epochs"] == hyper.epochs, f"{last['n_epochs']} epochs ran instead of {hyper.epochs}"
        limit = figures[f"{precision}_limit_steps_per_s"]
        speed = {"steps_per_s": rate(content), "limit_steps_per_s": limit, "of_limit": rate(content) / limit}
        yield {"lookback": lookback, "learner": name, **speed, **figures}


def _show_rate(row: dict[str, Any]) -> None:
    own = ""
    if "of_limit" in row:
        own = f"{row['flops_per_step'] / 1e3:11,.0f} {row['limit_steps_per_s']:10,.0f} {row['of_limit']:6.0%}"
    line = f"{row['lookback']:8} {row['learner']:>32} {row['steps_per_s']:10,.0f} {row['times_sb3']:7.1f} {own}"
    print(line.rstrip(), flush=True)


def growth(setting: Setting) -> list[dict[str, Any]]:
    print(f"\nOur cost of a step (default network, {HYPER.epochs} epochs, {setting.n_threads} threads); 1 = first row")
    show(("what", 10), ("size", 7), ("us/step", 9), ("ratio", 7), ("us/step apg", 12), ("ratio", 7))
    rows: list[dict[str, Any]] = []
    for what, sizes in (("lookback", (20, 60, 180)), ("symbols", (1, 7, 20)), ("accounts", (128, 1024, 8192))):
        first: dict[str, float] = {}
        for size in sizes[: setting.n_sizes]:
            costs: dict[str, float] = {learner: _step_us(setting, what, size, learner) for learner in LEARNERS}
            first = first or costs
            rows.append({"what": what, "size": size, **costs})
            ppo, apg = costs["ppo"], costs["apg"]
            ratios = ppo / first["ppo"], apg / first["apg"]
            print(f"{what:>10} {size:7,} {ppo:9.1f} {ratios[0]:7.2f} {apg:12.1f} {ratios[1]:7.2f}", flush=True)
    return rows


def _step_us(setting: Setting, what: str, size: int, learner: Learner) -> float:
    lookback = size if what == "lookback" else LOOKBACK
    n_accounts = (size if what == "accounts" else 1024) // MANY.n_groups
    hyper = replace(HYPER, learner=learner, max_kl=math.inf, batch_size=8192)
    budget = replace(MANY, n_accounts=n_accounts, updates=6 if n_accounts < 512 else 3)
    n_symbols = size if what == "symbols" else 7
    content = train_own(setting, f"growth-{what}-{size}-{learner}", lookback, hyper, budget, n_symbols=n_symbols)
    return 1e6 / rate(content)


def quality(setting: Setting) -> list[dict[str, Any]]:
    print(f"\nSeconds of training to the validation score of Stable-Baselines3 after {setting.n_peer_steps:,} steps")
    print(f"(lookback {LOOKBACK}, {setting.n_days} days of bars; Sharpe ratios, means of {LAST} evaluations)")
    columns = ("learner", 18), ("final", 7), ("to score s", 11), ("x SB3", 7), ("all s", 7)
    show(("seed", 4), ("knows", 6), ("holds", 6), *columns)
    rows: list[dict[str, Any]] = []
    for seed in range(1, setting.n_seeds + 1):
        rows += _one_seed(setting, seed)
    for learner in QUALITY:
        ratios = [row["times_sb3"] for row in rows if row["learner"] == learner]
        finals = [row["final"] - row["target"] for row in rows if row["learner"] == learner]
        said = f"median {median(ratios):.0f} times, least {min(ratios):.0f} times as fast to the score"
        print(f"{learner}: {said}; final score {np.mean(finals):+.2f} beside SB3's, at worst {min(finals):+.2f}")
    return rows


def _one_seed(setting: Setting, seed: int) -> list[dict[str, Any]]:
    market = planted_market(setting.n_days, seed=seed)
    known = {"seed": seed, "oracle": score(market, oracle(market)), "hold": score(market, hold(market))}
    peer = _peer_curve(setting, market, seed)
    target, peer_s = last_mean(peer["scores"]), peer["updates"][-1]["train_s"]
    usual = {**known, "target": target}
    same = {"to_score_s": peer_s, "times_sb3": 1.0, "all_s": peer_s, "evaluation_s": peer["evaluation_s"]}
    rows = [{**usual, "learner": PEERS["sb3"], "final": target, **same, "curve": peer["scores"]}]
    _show_quality(rows[-1])
    for learner, (hyper, budget) in QUALITY.items():
        more = {"market_seed": seed, "seed": seed, "evaluate_every_updates": EVALUATE_EVERY_UPDATES}
        budget = replace(budget, updates=min(budget.updates, setting.n_own_updates))
        own = train_own(setting, f"quality-{learner}-{seed}", LOOKBACK, hyper, budget, **more)
        scores = [line["score"] for line in own["evaluations"]]
        reached_s = time_to(own["evaluations"], target)
        times = {"to_score_s": reached_s, "times_sb3": peer_s / reached_s, "all_s": own["updates"][-1]["train_s"]}
        final = {"final": last_mean(scores), "evaluation_s": own["evaluation_s"], "curve": scores}
        rows.append({**usual, "learner": learner, **times, **final})
        _show_quality(rows[-1])
    return rows


def _peer_curve(setting: Setting, market: Planted, seed: int) -> dict[str, Any]:
    """Return what Stable-Baselines3 did on `market`, with the score of each evaluation by our engine."""
    name = f"quality-sb3-{seed}"
    file = setting.folder / f"{name}-market.npz"
    market.save(file)
    task = peer_task(setting, name, file, LOOKBACK, seed, setting.n_peer_steps, setting.n_between_evaluations)
    content = train_peer(setting, "sb3", task)
    with np.load(setting.folder / f"{name}.npz") as plays:
        content["scores"] = engine_scores(market, plays["actions"], plays["equity_usd"])
    return content


def engine_scores(market: Planted, actions: np.ndarray, equity_usd: np.ndarray) -> list[float]:
    """Play a peer's actions (E, T, A) through our engine and return the Sharpe ratio of each evaluation.

    Raises AssertionError unless the engine has the peer's equity (E, T + 1): then the two traded the same market.
    """
    wish, close = Wish(MAX_WEIGHT, 0.0, HYPER.no_trade_band), torch.tensor(market.panel.close)
    start, stop = market.validation
    chosen = torch.tensor(actions)

    def policy(t: int, accounts: Accounts) -> torch.Tensor:
        return wish.weights(chosen[:, t - start], accounts.weights(close[t]))

    played = run(policy, market.panel, start, stop, rules(), n_accounts=len(actions))
    distance = float(np.abs(played.equity_usd.T / equity_usd - 1.0).max())
    assert distance < SAME_MONEY_FRAC, f"the peers' environment and our engine differ by {distance:.1e} of the value"
    return [sharpe(returns, INTERVAL.per_year) for returns in played.returns.T]


def last_mean(scores: list[float]) -> float:
    return float(np.mean(scores[-LAST:]))


def time_to(evaluations: list[dict[str, float]], target: float) -> float:
    """Return the training time after which the mean of the newest `LAST` scores reached `target`; inf = never."""
    for n in range(LAST, len(evaluations) + 1):
        if last_mean([line["score"] for line in evaluations[:n]]) >= target:
            return evaluations[n - 1]["train_s"]
    return math.inf


def _show_quality(row: dict[str, Any]) -> None:
    figures = f"{row['final']:7.2f} {row['to_score_s']:11.1f} {row['times_sb3']:7.1f} {row['all_s']:7.1f}"
    print(f"{row['seed']:4} {row['oracle']:6.1f} {row['hold']:6.1f} {row['learner']:>18} {figures}", flush=True)


PARTS = {"throughput": throughput, "growth": growth, "quality": quality}


@contextmanager
def working_folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="bench_learner_") as name:
        yield Path(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed and few steps: a smoke test")
    parser.add_argument("--only", choices=tuple(PARTS), help="one part")
    parser.add_argument("--days", type=int, choices=(60, 730), default=730, help="training bars in days")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of every learner")
    chosen = parser.parse_args()
    children.RESULTS.mkdir(exist_ok=True)
    with working_folder() as folder:
        setting = (quick if chosen.quick else full)(chosen.threads, chosen.days, folder)
        for name in [chosen.only] if chosen.only else PARTS:
            rows = PARTS[name](setting)
            file = children.RESULTS / f"learner-{name}-{chosen.days}d{'-quick' * chosen.quick}.json"
            file.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
