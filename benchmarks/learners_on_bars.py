"""Our learners on real and simulated bars: what they earn on bars that nobody trained on, for how much computing.

    learners   PPO against APG at equal CPU time, each with settings that may suit it
    rules      trained with the protection and position rules against without, always judged under them
    sizes      places, accounts, bars and epochs of an update, at equal CPU time
    networks   view, width and joint layers, at equal CPU time

Run with `python benchmarks/learners_on_bars.py [--only PART] [--interval 1h] [--market NAME] [--seconds 12] [--seeds
4]`, the market one of real, simulated and planted (that of bench_learner.py, 60 days held out, no rules). Real bars
are those of `--bars`, a Parquet file; without the file, the simulated market stands in and the output says so. Every
training has one thread, and ends after as many updates as fit the CPU seconds. Without arguments it takes hours. Rows
are also written to `benchmarks/results/`.

"free Sharpe" is that of the same policies with every rule off. A year's Sharpe ratio is uncertain by about 1 whatever
the number of seeds: compare rows of one table, not with 0.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory

import numpy as np
import torch
from children import RESULTS
from planted import planted_market
from torch import Tensor

from cappuccino.env.market import MarketArrays, market_arrays
from cappuccino.features.compute import compute
from cappuccino.features.scaler import fit
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.files import FileSource
from cappuccino.market.inputs import NO_INPUTS
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, as_datetime64
from cappuccino.market.simulated import SimulatedSource
from cappuccino.market.sync import load_panel, sync_bars
from cappuccino.portfolio.account import Accounts
from cappuccino.portfolio.measures import Measures
from cappuccino.risk.rules import Rules
from cappuccino.rl import runner
from cappuccino.rl.agent import Decider
from cappuccino.rl.compute import choose
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.learning import Budget
from cappuccino.settings import CostSettings, FeatureSettings, MarketSettings, RiskSettings
from cappuccino.store import models
from cappuccino.store.schema import Schema
from cappuccino.store.warehouse import Warehouse
from cappuccino.validation.baselines import BASELINES, benchmark_returns, run_baselines, table_policy
from cappuccino.validation.evaluate import EpisodeResult, run

MARKETS = ("real", "simulated", "planted")
HERE = Path(__file__).resolve().parent
BARS = HERE.parents[1] / "shared" / "data" / "bars_1h.parquet"
BASES = ("BTC", "ETH", "LTC", "LINK", "BCH", "UNI", "AAVE")
SIMULATED_SEED = 2026
RECORD_STARTS = datetime(2020, 11, 1, tzinfo=UTC)
"""Before the first training bar: the features' warm-up."""
TRAIN_STARTS = {"long": datetime(2021, 1, 1, tzinfo=UTC), "short": datetime(2022, 7, 1, tzinfo=UTC)}
HELD_OUT_STARTS = datetime(2024, 7, 1, tzinfo=UTC)
HELD_OUT_STOPS = datetime(2025, 6, 30, tzinfo=UTC)
LOOKBACK = 60
TRADING = Rules.of(RiskSettings(), CostSettings()).for_training()
PPO, APG = Hyper(), Hyper(learner="apg", epochs=2)
USUAL = Budget(updates=0, n_groups=16, n_accounts=8, horizon=64)
"""That of `TrainingSettings`; `updates` does not count, the CPU seconds decide."""
WIDE = Budget(updates=0, n_groups=32, n_accounts=8, horizon=32)
"""What suits apg: more places, one step of the optimiser in 16 bars."""
PROBE_UPDATES = 5
"""Updates that tell what an update costs."""


@dataclass(frozen=True)
class Ground:
    """Bars to learn from, and the bars after them."""

    name: str
    panel: BarPanel
    market: MarketArrays
    """With features scaled as the training bars are."""
    train: tuple[int, int]
    held_out: tuple[int, int]
    rules: Rules
    """What policies are judged under."""


@dataclass(frozen=True)
class Variant:
    """One way to train."""

    name: str
    hyper: Hyper = PPO
    budget: Budget = USUAL
    rules: Rules = TRADING
    """What it learns under."""


@dataclass(frozen=True)
class Trained:
    """A policy and what it cost."""

    variant: Variant
    policy: Decider
    cpu_s: float
    n_env_steps: int


def ground(market: str, interval: Interval, span: str, bars: Path) -> Ground:
    """Return the bars of a market, through the project's own warehouse, gaps filled as it fills them."""
    panel = record(market, interval, bars)
    start, middle, stop = (
        int(np.searchsorted(panel.opened_at, as_datetime64(moment)))
        for moment in (TRAIN_STARTS[span], HELD_OUT_STARTS, HELD_OUT_STOPS)
    )
    spec = FeatureSpec.from_settings(FeatureSettings())
    features = compute(panel, spec)
    start = max(start, int(np.isfinite(features).all(axis=(1, 2)).argmax()))
    scaled = fit(features[start:middle], spec.names, panel.symbols).transform(features)
    name = f"{market} {interval} bars, trained on {panel.opened_at[start]:.10} to {panel.opened_at[middle]:.10}"
    return Ground(name, panel, market_arrays(panel, scaled), (start, middle), (middle, stop), TRADING)


def planted_ground(span: str) -> Ground:
    """Return the planted market of bench_learner.py: costs, but no rules."""
    market = planted_market({"long": 730, "short": 60}[span])
    name = f"planted 1h bars, {span}"
    return Ground(
        name, market.panel, market.arrays, market.range_for(LOOKBACK), market.validation, TRADING.without_protection()
    )


def record(market: str, interval: Interval, bars: Path) -> BarPanel:
    """Return the panel of `interval` from hourly bars, from a warehouse that is thrown away."""
    quote = "USDT" if market == "real" else "USD"
    source = FileSource(bars) if market == "real" else SimulatedSource(SIMULATED_SEED)
    symbols = tuple(f"{base}/{quote}" for base in BASES)
    settings = MarketSettings(symbols=symbols, base_interval=Interval.H1)
    with TemporaryDirectory(prefix="learners_on_bars_") as folder:
        warehouse, schema = Warehouse(Path(folder) / "bench.duckdb"), Schema.load(HERE.parent / "sql")
        warehouse.migrate(schema)
        sync_bars(warehouse, source, settings, RECORD_STARTS, HELD_OUT_STOPS, HELD_OUT_STOPS)
        with warehouse.write() as writer:
            models.build(writer, schema.models["market.bars_all"])
        with warehouse.read() as reader:
            return load_panel(reader, symbols, interval, HELD_OUT_STOPS, RECORD_STARTS, NO_INPUTS)


def train(place: Ground, variant: Variant, seed: int, cpu_s: float) -> Trained:
    """Return the policy of as many updates as take `cpu_s`."""

    def trained(n_updates: int) -> tuple[runner.TrainedPolicy, list[float]]:
        ended_s = [time.process_time()]
        result = runner.train(
            place.market,
            (place.train,),
            LOOKBACK,
            variant.hyper,
            replace(variant.budget, updates=n_updates),
            variant.rules,
            seed,
            on_progress=lambda _: ended_s.append(time.process_time()),
            compute=choose("cpu", "auto"),
        )
        return result, ended_s

    update_s = float(np.median(np.diff(trained(PROBE_UPDATES)[1])))
    result, ended_s = trained(max(round(cpu_s / update_s), 2))
    spent_s = ended_s[-1] - ended_s[0]
    n_env_steps = sum(one.n_env_steps for one in result.progress)
    return Trained(variant, Decider(result.policy, place.market, variant.hyper), spent_s, n_env_steps)


def judge(place: Ground, policies: Sequence[Decider], rules: Rules) -> list[Measures]:
    """Return what each policy did with an account of its own on the held-out bars."""

    def together(t: int, accounts: Accounts) -> Tensor:
        own = (Accounts(*(column[n : n + 1] for column in vars_of(accounts))) for n in range(len(policies)))
        return torch.cat([policy(t, account) for policy, account in zip(policies, own, strict=True)])

    played = run(together, place.panel, *place.held_out, rules, n_accounts=len(policies))
    return measures_of(place, played)


def vars_of(accounts: Accounts) -> tuple[Tensor, ...]:
    return tuple(getattr(accounts, name) for name in accounts.__dataclass_fields__)


def measures_of(place: Ground, played: EpisodeResult) -> list[Measures]:
    benchmark = benchmark_returns(place.panel, *place.held_out)
    return [played.measures(n, benchmark) for n in range(played.equity_usd.shape[1])]


def baselines(place: Ground) -> dict[str, Measures]:
    """Return what the baselines did, free of rules, and equal weights under them."""
    free = measures_of(place, run_baselines(place.panel, *place.held_out, TRADING, seed=1))
    table = BASELINES["equal_weight"](place.panel, *place.held_out, 1)[:, None]
    bound = measures_of(
        place, run(table_policy(place.panel, place.held_out[0], table), place.panel, *place.held_out, place.rules)
    )
    return {**dict(zip(BASELINES, free, strict=True)), "equal_weight, rules": bound[0]}


COLUMNS = ("Sharpe", "sd", "return", "drawdown", "turnover/d", "exposure", "free Sharpe", "cpu s", "steps", "steps/s")
HEADER = f"{'':42}" + "".join(f"{column:>12}" for column in COLUMNS)


def row(name: str, bound: Sequence[Measures], free: Sequence[Measures], done: Sequence[Trained]) -> str:
    """Return one line: means over seeds, the spread of the Sharpe ratio, and what a policy earns without rules."""
    sharpes = [one.sharpe_daily_365 for one in bound]
    figures = [
        f"{fmean(sharpes):12.2f}{stdev(sharpes) if len(sharpes) > 1 else 0.0:12.2f}",
        f"{fmean(one.total_return_frac for one in bound):12.1%}",
        f"{fmean(one.max_drawdown_frac for one in bound):12.1%}",
        f"{fmean(one.turnover_per_day for one in bound):12.3f}",
        f"{fmean(one.exposure_frac for one in bound):12.2f}",
        f"{fmean(one.sharpe_daily_365 for one in free):12.2f}" if free else " " * 12,
    ]
    if done:
        steps, cpu_s = fmean(one.n_env_steps for one in done), fmean(one.cpu_s for one in done)
        figures.append(f"{cpu_s:12.1f}{steps:12,.0f}{steps / cpu_s:12,.0f}")
    return f"{name:42}" + "".join(figures)


def compare(
    place: Ground, variants: Sequence[Variant], n_seeds: int, cpu_s: float, *, also_free: bool
) -> list[dict[str, object]]:
    """Print a line for each variant and return all measures; `also_free` judges without rules as well."""
    print(f"\n{place.name}\nheld out until {place.panel.opened_at[place.held_out[1] - 1]:.10}\n{HEADER}", flush=True)
    for name, one in baselines(place).items():
        print(row(name, [one], [], []), flush=True)
    kept: list[dict[str, object]] = []
    for variant in variants:
        done = [train(place, variant, seed, cpu_s) for seed in range(1, n_seeds + 1)]
        policies = [one.policy for one in done]
        bound = judge(place, policies, place.rules)
        free = judge(place, policies, place.rules.without_protection()) if also_free else []
        print(row(variant.name, bound, free, done), flush=True)
        kept += [
            {"ground": place.name, "variant": variant.name, "seed": seed, "cpu_s": one.cpu_s}
            | {"n_env_steps": one.n_env_steps, "under_rules": asdict(under)}
            for seed, (one, under) in enumerate(zip(done, bound, strict=True), start=1)
        ]
    return kept


def learners(inside: Rules) -> list[Variant]:
    """Return both learners with wishes for risk, horizons and bands that may suit them."""
    changes: dict[str, dict[str, float]] = {
        "": {},
        ", variance penalty 3": {"variance_penalty": 3.0},
        ", turnover penalty 0.003": {"turnover_penalty": 0.003},
        ", band 0.1": {"no_trade_band": 0.1},
        ", discount 0.99": {"discount": 0.99},
        ", variance penalty 1": {"variance_penalty": 1.0},
        ", rate 3e-4": {"learning_rate": 3e-4},
    }
    return [
        Variant(f"{hyper.learner}{name}", replace(hyper, **change), budget, inside)  # type: ignore[arg-type]
        for name, change in changes.items()
        for hyper, budget in ((PPO, USUAL), (APG, WIDE))
    ]


def rules_inside(_: Rules) -> list[Variant]:
    """Return both learners, trained under the rules and free of them."""
    return [
        Variant(f"{hyper.learner}, {name}", hyper, budget, taught)
        for hyper, budget in ((PPO, USUAL), (APG, WIDE))
        for name, taught in (("trained under the rules", TRADING), ("trained without", TRADING.without_protection()))
    ]


def sizes(inside: Rules) -> list[Variant]:
    """Return PPO with other updates."""
    shapes = [(16, 8, 64, 4), (8, 16, 32, 4), (16, 16, 32, 4), (32, 8, 64, 4), (64, 4, 64, 4), (16, 8, 128, 4)]
    shapes += [(16, 8, 64, 2), (16, 8, 64, 8), (16, 32, 64, 4)]
    return [
        Variant(f"ppo {g} x {m} x {h}, {epochs} epochs", replace(PPO, epochs=epochs), Budget(0, g, m, h), inside)
        for g, m, h, epochs in shapes
    ]


def networks(inside: Rules) -> list[Variant]:
    """Return PPO with other networks."""
    return [
        Variant("ppo dyadic, width 64", rules=inside),
        Variant("ppo every_bar, width 64", replace(PPO, view="every_bar"), rules=inside),
        Variant("ppo dyadic, width 256", replace(PPO, width=256), rules=inside),
        Variant("ppo dyadic, width 64, 1 joint layer", replace(PPO, account_depth=1), rules=inside),
        Variant("ppo dyadic, width 64, 2 layers", replace(PPO, depth=2), rules=inside),
    ]


PARTS = {"learners": learners, "rules": rules_inside, "sizes": sizes, "networks": networks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=tuple(PARTS), help="one part")
    parser.add_argument("--market", choices=MARKETS, help="one market; default: all")
    parser.add_argument("--interval", type=Interval, default=Interval.H1)
    parser.add_argument("--span", choices=tuple(TRAIN_STARTS), default="long", help="training bars: 3.5 or 2 years")
    parser.add_argument("--seconds", type=float, default=12.0, help="CPU seconds of one training")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--match", default="", help="only variants whose name has this in it")
    parser.add_argument("--bars", type=Path, default=BARS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    markets = [chosen.market] if chosen.market else list(MARKETS)
    if not chosen.bars.is_file() and "real" in markets:
        print(f"{chosen.bars} is not there: SIMULATED bars only")
        markets = [market for market in markets if market != "real"] or ["simulated"]
    RESULTS.mkdir(exist_ok=True)
    for market in markets:
        is_planted = market == "planted"
        place = planted_ground(chosen.span) if is_planted else ground(market, chosen.interval, chosen.span, chosen.bars)
        for part in [chosen.only] if chosen.only else PARTS:
            variants = [variant for variant in PARTS[part](place.rules) if chosen.match in variant.name]
            kept = compare(place, variants, chosen.seeds, chosen.seconds, also_free=part == "rules")
            (RESULTS / f"market-{part}-{market}-{chosen.interval}.json").write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
