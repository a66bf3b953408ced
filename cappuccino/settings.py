"""One typed configuration: defaults < profile < `cappuccino.toml` < environment < command line.

Every key is also an environment variable, `CAPPUCCINO_<GROUP>__<KEY>` (`CAPPUCCINO_COSTS__FEE_BPS=40`), and unknown
keys are errors in each of the places.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from cappuccino.clock import require_utc
from cappuccino.errors import ConfigError
from cappuccino.market.interval import Interval

PREFIX = "CAPPUCCINO_"
DEFAULT_FILE = Path("cappuccino.toml")
Fraction = Annotated[float, Field(ge=0, le=1)]
UtcTime = Annotated[AwareDatetime, AfterValidator(require_utc)]
Source = Literal["simulated", "files", "alpaca", "coinbase"]


class Group(BaseModel):
    """A table of the configuration file."""

    # A NaN would pass every gate that asks whether a figure is below it.
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class MarketSettings(Group):
    source: Source = "simulated"
    """Where bars come from; `simulated` needs nothing and is labelled wherever it shows. None needs a key."""
    path: Path | None = None
    """File or folder of the `files` source (Parquet or CSV)."""
    symbols: tuple[str, ...] = ("BTC/USD", "ETH/USD", "LTC/USD", "BCH/USD", "LINK/USD", "UNI/USD", "AAVE/USD")
    """Traded symbols, base/quote; the order is the order of the agent's actions."""
    base_interval: Interval = Interval.M15
    """The one interval that is stored; longer ones are derived from it."""
    history_days: int = Field(730, ge=1)
    """Days of bars that are kept fresh before the present."""
    start: UtcTime | None = None
    """First bar to load; none = `history_days` before the end."""
    end: UtcTime | None = None
    """Where the record ends, and with it the present of this warehouse; none = the wall clock, or a file's last bar."""
    max_filled_frac: Fraction = 0.01
    """Largest share of filled bars that a fold, an arena window or a feature range accepts."""
    gap_policy: Literal["fill", "refuse"] = "fill"
    """Absent bars: `fill` repeats the last close with volume 0, marked and counted; `refuse` stops at any hole of a
    source. A halt of the exchange (every symbol absent at once) is filled under both."""
    max_hole_hours: float = Field(24, gt=0)
    """Longest hole of a source that `fill` accepts; a longer one is an error."""
    max_jump_log: float = Field(0.7, gt=0)
    """Largest |ln(close/previous close)| between adjacent bars before the jump check fails."""
    grace_minutes: int = Field(5, ge=0)
    """Added to two intervals before the newest bar counts as stale."""

    @property
    def max_bar_age(self) -> timedelta:
        """Oldest that the newest bar may be, from its close on: two intervals after its open, and the grace time."""
        return self.base_interval.duration + timedelta(minutes=self.grace_minutes)

    @field_validator("symbols")
    @classmethod
    def _symbols_are_pairs(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in symbols:
            base, slash, quote = symbol.partition("/")
            if not (base and slash and quote):
                raise ValueError(f"{symbol!r} is not BASE/QUOTE such as BTC/USD")
        if not symbols or len(set(symbols)) != len(symbols):
            raise ValueError("needs at least one symbol, each named once")
        return symbols

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.source == "files" and self.path is None:
            raise ValueError("source 'files' needs market.path (--path FILE_OR_FOLDER)")
        if self.start and self.end and self.start >= self.end:
            raise ValueError(f"start {self.start} is not before end {self.end}")
        return self


class SimulatedSettings(Group):
    seed: int = Field(2026, ge=0)
    """Equal seeds give bit-equal bars."""


class CallSettings(Group):
    """How a venue is asked over the network."""

    connect_timeout_s: float = Field(5.0, gt=0)
    read_timeout_s: float = Field(20.0, gt=0)
    max_attempts: int = Field(6, ge=1)
    """Tries of one request before the sync fails."""
    first_pause_s: float = Field(0.5, ge=0)
    """Pause after the first failure; it doubles with each, with jitter. A longer Retry-After wins."""
    max_pause_s: float = Field(60.0, ge=0)
    breaker_failures: int = Field(5, ge=1)
    """Failures in a row, over all requests of a run, that open the circuit breaker."""
    breaker_rest_s: float = Field(60.0, ge=0)
    """How long an open breaker refuses to ask before it lets one request try."""


class AlpacaSettings(CallSettings):
    data_url: str = Field("https://data.alpaca.markets", pattern=r"^https?://[^/]+$")
    """Address of the market data interface: scheme and host, no path."""
    trading_url: str = Field("https://paper-api.alpaca.markets", pattern=r"^https?://[^/]+$")
    """Address of the trading interface, by default that of paper accounts: scheme and host, no path."""
    ca_bundle: Path | None = None
    """File of the certificate authorities to trust instead of the usual ones."""
    requests_per_minute: float = Field(180, gt=0)
    """Own budget; the documented limit is 200."""


class CoinbaseSettings(CallSettings):
    base_url: str = Field("api.coinbase.com", pattern=r"^[^/]+$")
    """Host (and port) of the interface, without a scheme: the client always speaks https."""
    ca_bundle: Path | None = None
    """File of the certificate authorities to trust instead of the usual ones."""
    requests_per_minute: float = Field(480, gt=0)
    """Own budget; about 10 a second are said to be allowed."""
    candles_per_call: int = Field(300, ge=1, le=350)
    """Bars asked for at once; some accounts never get more than 300."""


class FeatureSettings(Group):
    indicators: tuple[str, ...] = ("macd", "rsi_14", "cci_20", "dx_14")
    """Indicators of the pandas-ta catalogue beside open, high, low, close and volume; `name` or `name_length`, and with
    `@4h` or another longer interval (`rsi_14@4h`) on the newest such bar that has closed."""
    extras: tuple[str, ...] = ("roc_12", "realized_volatility_24", "trend_1d")
    """Features of our own: realized_volatility_N, volume_zscore_N, roc_N, adx_N, correlation_N, time_of_day,
    day_of_week, trend_4h, trend_1d, regime; all but calendar and trends also on longer bars (`roc_12@1d`)."""
    inputs: tuple[Literal["sentiment", "book_imbalance"], ...] = ()
    """Inputs beside bars, from warehouse tables that somebody feeds: features.sentiment, market.books."""
    max_input_age_hours: float = Field(24, gt=0)
    """Older inputs count as absent, which is 0."""


def _require_fractions(group: ProtectionSettings | PositionSettings, *names: str) -> None:
    """Raise ValueError when a threshold is above 1 that is not a multiple of volatility."""
    for name in names:
        threshold = getattr(group, name)
        if threshold > 1 and not group.volatility_scaled:
            raise ValueError(f"{name} is {threshold}, more than all; multiples of volatility need volatility_scaled")


class CostSettings(Group):
    fee_bps: float = Field(25.0, ge=0, le=500)
    """Fee of a taker per trade on its notional value (0.25 %)."""
    slippage_bps: float = Field(5.0, ge=0, le=500)
    """Distance of a fill from the bar's open, against us, beside spread and impact."""
    spread_bps: float = Field(0.0, ge=0, le=500)
    """Distance from bid to ask, of which a fill pays half; 0 = it counts as part of the slippage."""
    impact: float = Field(0.0, ge=0, le=10)
    """Market impact: an order moves its price by this * volatility of a day * sqrt(order / volume of a day), both as
    known when it was decided. 0 = none, 1 is what most studies of the square-root law find."""
    maker_fee_bps: float = Field(15.0, ge=0, le=500)
    """Fee of a maker."""
    maker_share_frac: Fraction = 0.0
    """Expected share of each fill that rests in the book: it pays the maker's fee, and neither spread nor slippage."""
    min_order_usd: float = Field(10.0, ge=0)
    """Smaller orders are not sent, except those that protect."""


class ProtectionSettings(Group):
    volatility_scaled: bool = False
    """Read the thresholds as multiples of the volatility of a day of what is held, instead of fractions of its
    value."""
    trailing_stop_frac: float = Field(0.015, ge=0)
    """Fall of portfolio value below the cycle's peak that sells everything; 0 = off."""
    profit_take_frac: float = Field(0.03, ge=0)
    """Gain since the cycle began that sells half of each position, once a cycle; 0 = off."""
    move_to_cash_frac: float = Field(0.0, ge=0)
    """Gain since the cycle began that sells everything; 0 = off (0.05 is the usual choice)."""
    cash_hours: float = Field(24.0, ge=0)
    """How long move-to-cash stays out."""

    @model_validator(mode="after")
    def _fractions(self) -> Self:
        _require_fractions(self, "trailing_stop_frac")
        return self


class PositionSettings(Group):
    volatility_scaled: bool = False
    """Read the thresholds of both stops as multiples of the symbol's volatility of a day, instead of fractions of its
    price."""
    stop_loss_frac: float = Field(0.10, ge=0)
    """Fall below the average entry that sells the position; 0 = off."""
    stop_loss_by_symbol: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Other stop-losses for some symbols (`"BTC/USD" = 0.05`); 0 = off there."""
    trailing_stop_frac: float = Field(0.0, ge=0)
    """Fall below the position's peak price that sells it; 0 = off."""
    trailing_stop_by_symbol: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Other trailing stops for some symbols."""
    max_weight_frac: float = Field(0.30, gt=0, le=1)
    """Largest share of the portfolio in one symbol."""
    dampening: float = Field(1.0, gt=0, le=1)
    """Share of the way from the present to the wanted position that one bar trades."""

    @model_validator(mode="after")
    def _fractions(self) -> Self:
        _require_fractions(self, "stop_loss_frac", "trailing_stop_frac")
        for name in ("stop_loss_by_symbol", "trailing_stop_by_symbol"):
            for symbol, threshold in getattr(self, name).items():
                if threshold > 1 and not self.volatility_scaled:
                    raise ValueError(f"{name} of {symbol} is {threshold}, no fraction; that needs volatility_scaled")
        return self


class LimitSettings(Group):
    daily_loss_frac: Fraction = 0.02
    """Fall of portfolio value below that at the start of the UTC day that stops buys until the day ends; 0 = off."""
    drawdown_frac: Fraction = 0.15
    """Fall below the highest value ever that stops buys until the operator resumes; 0 = off."""
    losing_trades: int = Field(5, ge=0)
    """Losing sales in a row that pause buys; 0 = off."""
    pause_hours: float = Field(24.0, ge=0)
    """How long they are paused."""
    max_order_frac: Fraction = 0.30
    """Largest buy, as a share of the portfolio; 0 = off."""
    max_order_usd: float = Field(0.0, ge=0)
    """Largest buy; 0 = off."""
    max_buys_per_day: int = Field(200, ge=0)
    """Buys of all symbols together in a UTC day; 0 = off."""
    correlated_from: Fraction = 0.8
    """Correlation with the market, over the last 14 days, from which on a symbol counts as correlated."""
    max_correlated_frac: Fraction = 0.9
    """Largest share of the portfolio in all correlated symbols together; 0 = off."""


class ConvictionSettings(Group):
    min_score: Fraction = 0.6
    """Score below which a buy is dropped; 0 = off."""
    sharpe_bars: int = Field(100, ge=2)
    """Span, in bars, of the Sharpe ratio of the account that counts in the score."""


class RiskSettings(Group):
    protection: ProtectionSettings = ProtectionSettings()
    position: PositionSettings = PositionSettings()
    limits: LimitSettings = LimitSettings()
    conviction: ConvictionSettings = ConvictionSettings()


class TimeframeSettings(Group):
    intervals: tuple[Interval, ...] = (Interval.M15, Interval.M30, Interval.H1, Interval.H4, Interval.D1)
    lookbacks: tuple[int, ...] = (20, 60)
    """Bars that an agent sees, crossed with the intervals."""
    trials: int = Field(60, ge=0, le=100)
    """Cheap trials in all."""
    updates: int = Field(12, ge=1)
    """Updates of a cheap trial's training."""

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.intervals or not self.lookbacks or min(self.lookbacks) < 2:
            raise ValueError("needs at least one interval, and lookbacks of at least 2 bars")
        return self


class TrainingSettings(Group):
    trials: int = Field(1000, ge=0, le=1000)
    """Most trials of a study, over all restarts and workers."""
    workers: int = Field(2, ge=0)
    """Trials at the same time; 0 = nothing trains."""
    executor: Literal["local", "ray"] = "local"
    """Where trials run: `local` = processes of this machine, `ray` = the nodes of a Ray cluster."""
    ray_address: str = Field("auto", pattern=r"^(auto|local|[^/\s]+:\d+)$")
    """The cluster: `auto` = the one that this machine belongs to, HOST:PORT = one of several, `local` = of its own."""
    seed: int = Field(7, ge=0)
    folds: Literal["walk_forward", "combinatorial"] = "walk_forward"
    """How trials are judged inside the training range: on what followed their past, or on every combination of
    blocks, purged on both sides."""
    n_folds: int = Field(3, ge=1)
    """Walk-forward folds."""
    n_blocks: int = Field(4, ge=2)
    """Combinatorial: blocks of the training range."""
    n_test_blocks: int = Field(2, ge=1)
    """Combinatorial: blocks that each fold is judged on; 2 of 4 make 6 folds."""
    embargo_frac: Fraction = 0.01
    """Combinatorial: share of the training range that is left out after each block of judgement, beside the purge."""
    arena_days: float = Field(60, gt=0)
    """Days before the holdout, kept from training: the arena's windows come from here."""
    holdout_days: float = Field(60, ge=0)
    """Last days before the present: no search, arena or stop rule ever gets their bars; 0 = no holdout."""
    learner: Literal["ppo", "apg", "search"] = "search"
    """How agents learn: `ppo` by trying, `apg` by gradients through the engine, `search` = each trial chooses."""
    under_rules: bool = True
    """Train under the protection and position rules that agents trade under; they are always judged under them."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where trials compute; `auto` = on CUDA when there is one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Factors of large matrix products in training; `auto` = bfloat16 where the hardware multiplies it."""
    updates: int = Field(40, ge=1)
    """Updates of one training; on real bars, more made agents worse (docs/learners.md)."""
    n_groups: int = Field(16, ge=1)
    """Places in history that a rollout starts from."""
    n_accounts: int = Field(8, ge=1)
    """Accounts that start from each place."""
    horizon: int = Field(64, ge=2)
    """Bars of a rollout."""
    checkpoint_every: int = Field(10, ge=1)
    """Updates between two checkpoints."""
    max_width: int = Field(512, ge=64)
    """Widest network that the search tries."""
    ablate: tuple[str, ...] = ()
    """Parts of the reward to leave out: cash_reserve, concentration_penalty, turnover_penalty, time_decay,
    variance_penalty."""
    patience: int = Field(200, ge=1)
    """Completed trials without enough improvement after which the study stops."""
    min_improvement: float = Field(0.01, ge=0)
    """Rise of the best score that counts as improvement."""
    startup_trials: int = Field(10, ge=1)
    """Random trials before the sampler learns, and completed trials before the pruner prunes."""
    max_data_age_days: float = Field(7, gt=0)
    """Training data older than this is stale."""
    retry_pause_s: float = Field(5.0, ge=0)
    """Pause before a trial that lacked memory or disk space, or diverged, is tried again."""
    worker_memory_mb: int | None = Field(None, ge=0)
    """Most memory that a trial may allocate; 0 = no limit, not set = an equal share of 80 % of the machine's."""
    min_free_disk_mb: int = Field(500, ge=0)
    """Free disk space below which no trial starts."""

    @model_validator(mode="after")
    def _blocks(self) -> Self:
        if self.n_test_blocks >= self.n_blocks:
            raise ValueError(f"n_test_blocks {self.n_test_blocks} leaves none of n_blocks {self.n_blocks} to train on")
        return self


class TreeSettings(Group):
    trials: int = Field(24, ge=0, le=100)
    """Forests that a study of gradient-boosted trees tries, beside the networks; 0 = none."""
    startup_trials: int = Field(8, ge=1)
    """Random trials before the sampler learns."""
    horizon_hours: tuple[float, float] = (1.0, 48.0)
    """Shortest and longest time ahead over which returns are predicted; at least a bar."""

    @field_validator("horizon_hours")
    @classmethod
    def _ordered(cls, hours: tuple[float, float]) -> tuple[float, float]:
        if not 0 < hours[0] <= hours[1]:
            raise ValueError(f"{hours[0]:g} to {hours[1]:g} hours is no range; give the shorter first")
        return hours


class EnsembleSettings(Group):
    members: int = Field(10, ge=0)
    """Most members: the best distinct candidates by walk-forward score; fewer than 2 = no ensembles."""
    min_improvement_frac: float = Field(0.01, ge=0)
    """Share by which a new ensemble's score has to exceed that of the one before, on the same bars."""
    keep: int = Field(5, ge=1)
    """Members that always stay in an adaptive ensemble."""
    drop_every_bars: int = Field(24, ge=1)
    """Bars after which an adaptive ensemble leaves out the worst of its members, until all return."""
    reward_bars: int = Field(120, ge=1)
    """Newest bars whose rewards decide who is the worst, and on weights."""


class ArenaSettings(Group):
    streak: int = Field(20, ge=1)
    """Different opponents beaten in a row that promote to the sandbox."""
    windows: int = Field(5, ge=1)
    """Windows of a match; most windows won wins the match."""
    window_days: float = Field(4, gt=0)
    score: Literal["log_return", "sharpe", "alpha"] = "log_return"
    """What is compared in each window."""
    min_sharpe: float = 0.7
    """Smallest annualised Sharpe ratio on a candidate's own folds that opens the arena to it, of every family."""
    min_profit_factor: float = Field(1.1, ge=0)
    """Smallest profit factor there."""

    @field_validator("windows")
    @classmethod
    def _odd(cls, windows: int) -> int:
        if windows % 2 == 0:
            raise ValueError(f"{windows} is even; take an odd number, so that windows decide")
        return windows


class SandboxSettings(Group):
    days: float = Field(2, gt=0)
    """Paper time before the decision."""
    cash_usd: float = Field(10_000.0, gt=0)
    """Virtual money of each account."""


class ExecutionSettings(Group):
    style: Literal["market", "maker"] = "market"
    """How orders that do not protect are sent: at the market, or first as post-only limits at the best price."""
    requote_s: float = Field(10, gt=0)
    """Age at which a resting order that is not at the best price any more is quoted anew."""
    maker_timeout_s: float = Field(45, gt=0)
    """After this the rest of a resting order is cancelled and taken at the market."""
    min_fill_probability: Fraction = 0.2
    """Estimated probability of a resting order being filled in time below which it is sent at the market at once."""
    maker_share_target_frac: Fraction = 0.7
    """Share of traded value that should rest in the book; reports compare with it."""
    step_s: float = Field(2, gt=0)
    """Pause between two looks at orders that are under way."""
    unknown_after_s: float = Field(30, gt=0)
    """How long a venue may not know an order whose sending was never answered before it counts as not taken."""


class TraderSettings(Group):
    poll_s: float = Field(60, gt=0)
    """Time between two looks at the market; protection is checked at each."""
    settle_s: float = Field(10, ge=0)
    """Time after a bar's close before it is decided on: venues still correct the newest bar for some seconds."""
    decide_within_frac: float = Field(1.0, gt=0, le=1)
    """Age of the newest closed bar, as a share of its length, after which it is not decided on any more."""
    production_broker: Literal["simulated", "alpaca"] = "simulated"
    """Who keeps the account of the model in production: the trader itself, or Alpaca's paper venue."""
    max_quote_age_s: float = Field(300, gt=0)
    """Oldest quote that is traded on."""
    max_missing_bars: int = Field(2, ge=0)
    """Newest bars of one symbol that may be absent, as where nobody traded, while its quotes are sound."""
    max_gap_log: float = Field(0.7, gt=0)
    """Largest |ln(quote/last close)| that is believed at once; a larger one has to be seen in bars and quotes."""
    max_spread_frac: Fraction = 0.05
    """Widest spread, as a share of the middle, that is traded on."""
    frozen_polls: int = Field(30, ge=2)
    """Looks at the market in a row without any change of any quote or bar after which the feed counts as frozen."""
    max_clock_skew_s: float = Field(30, gt=0)
    """Largest difference between our clock and a venue's."""
    mismatch_frac: Fraction = 0.005
    """Largest difference between our book and the venue's holdings, as a share of the position, that is taken over in
    silence: what fees round to."""
    mismatch_usd: float = Field(1.0, ge=0)
    """Differences worth less than this are taken over too."""
    hang_s: float = Field(300, gt=0)
    """Without a heartbeat for so long the trader counts as hanging, and is started again."""


class UpSettings(Group):
    """What `cappuccino up` runs, and how patient it is."""

    port: int = Field(3000, ge=1, le=65535)
    """Where the Dagster UI listens, on this machine only."""
    first_pause_s: float = Field(5, gt=0)
    """Pause before a child that ended is started again; it doubles with each end in a row."""
    longest_pause_s: float = Field(300, gt=0)
    health_s: float = Field(60, gt=0)
    """After so much health in a row the pauses begin anew."""
    restarts: int = Field(3, ge=1)
    """Restarts within `window_s` at which a person is called; from then on pauses are the longest."""
    window_s: float = Field(300, gt=0)
    web_hang_s: float = Field(120, gt=0)
    """Without an answer of the Dagster UI for so long it counts as hanging; it takes half a minute to start."""
    daemon_hang_s: float = Field(900, gt=0)
    """The same for the heartbeats of Dagster's daemon."""
    stop_s: float = Field(30, gt=0)
    """Time that a child gets to end by itself before it is killed."""
    memory_mb: float = Field(6000, ge=0)
    """Resident memory at which a child is stopped and started again; runs and trials of Dagster's daemon are not part
    of it. 0 = no limit."""
    open_files: int = Field(900, ge=0)
    """Open files, pipes and connections at which a child is started again; 0 = no limit."""
    log_mb: float = Field(10, gt=0)
    """Size at which a log is put aside; three old ones are kept."""


class AlertSettings(Group):
    """What is said to a person; the addresses of the channels are secrets, in the variable ALERT_URLS."""

    min_severity: Literal["info", "warning", "critical"] = "warning"
    """Less urgent alerts are stored, and not sent."""
    repeat_hours: float = Field(6, gt=0)
    """An alert that is not resolved is said again after so long."""
    per_hour: int = Field(20, ge=1)
    """Most alerts of one severity that are sent in an hour; more are stored only, and counted."""
    timeout_s: float = Field(30, gt=0)
    """A channel that is not back after so long counts as hanging; the others go on."""


class LiveSettings(Group):
    enabled: bool = False
    """The operator's switch. Real money needs this AND the green light AND profile `live`."""
    capital_steps_usd: tuple[float, ...] = (100.0, 1_000.0, 2_000.0, 3_000.0)
    """Money that is traded with, step by step; the operator confirms each."""
    step_days: float = Field(7, gt=0)
    """Time for which a step has to have been profitable before the next one."""
    window_days: float = Field(2, gt=0)
    min_alpha: float = 0.0
    min_sharpe: float = 0.1
    max_drawdown_frac: Fraction = 0.15

    @field_validator("capital_steps_usd")
    @classmethod
    def _steps_rise(cls, steps: tuple[float, ...]) -> tuple[float, ...]:
        if not steps or steps[0] <= 0 or any(higher <= lower for lower, higher in pairwise(steps)):
            raise ValueError("needs at least one amount above 0, each above the one before")
        return steps


class ReplaySettings(Group):
    step_hours: float = Field(24, gt=0)
    """Virtual time between two looks of the organisation at the market."""
    retrain_every_days: float = Field(30, gt=0)
    """Age of the training data at which a replay starts a new study."""


class RunSettings(Group):
    holdback_days: float = Field(6, ge=0)
    """Last days of the record that `cappuccino run` keeps from training, for sandbox and production to trade."""
    step_hours: float = Field(24, gt=0)
    """Virtual time between two looks at the market during the held-back days."""


Profile = Literal["demo", "paper", "live"]

PROFILES: dict[Profile, dict[str, dict[str, Any]]] = {
    # Small enough for five minutes on two cores. `cappuccino run` prints these differences.
    "demo": {
        "market": {"history_days": 150, "end": "2025-07-01T00:00:00Z"},
        "timeframe": {"intervals": ["1h", "4h"], "lookbacks": [12, 24], "trials": 12, "updates": 10},
        "training": {
            "trials": 24,
            "n_folds": 2,
            "updates": 30,
            "n_groups": 8,
            "n_accounts": 16,
            "horizon": 32,
            "max_width": 128,
            "arena_days": 20,
            "holdout_days": 10,
            "startup_trials": 6,
        },
        "trees": {"trials": 6, "startup_trials": 4},
        "arena": {"streak": 3},
    },
    "paper": {},
    "live": {},
}


class _ProfileSource(InitSettingsSource):
    """The numbers of the profile that a stronger source names."""

    def __call__(self) -> dict[str, Any]:
        profile = str(self.current_state.get("profile", "demo"))
        overrides: Mapping[str, Any] = PROFILES.get(profile, {})  # type: ignore[call-overload]
        # The demo market ends on a fixed day so that everybody gets the same agent; a real record ends where it ends.
        market = self.current_state.get("market")
        source = market.get("source", "simulated") if isinstance(market, Mapping) else "simulated"
        if source != "simulated" and "market" in overrides:
            overrides = {**overrides, "market": {k: v for k, v in overrides["market"].items() if k != "end"}}
        return dict(overrides)


class Settings(BaseSettings):
    """Everything that can be chosen, checked; build it with `load`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        validate_default=True,
    )

    profile: Profile = "demo"
    """`demo` shrinks numbers, `paper` has those of the specification, `live` may trade real money past every gate."""
    warehouse: Path = Path("warehouse")
    """Folder of everything that is written."""
    market: MarketSettings = MarketSettings()
    simulated: SimulatedSettings = SimulatedSettings()
    alpaca: AlpacaSettings = AlpacaSettings()
    coinbase: CoinbaseSettings = CoinbaseSettings()
    features: FeatureSettings = FeatureSettings()
    costs: CostSettings = CostSettings()
    risk: RiskSettings = RiskSettings()
    timeframe: TimeframeSettings = TimeframeSettings()
    training: TrainingSettings = TrainingSettings()
    trees: TreeSettings = TreeSettings()
    ensembles: EnsembleSettings = EnsembleSettings()
    arena: ArenaSettings = ArenaSettings()
    sandbox: SandboxSettings = SandboxSettings()
    trader: TraderSettings = TraderSettings()
    execution: ExecutionSettings = ExecutionSettings()
    live: LiveSettings = LiveSettings()
    up: UpSettings = UpSettings()
    alerts: AlertSettings = AlertSettings()
    run: RunSettings = RunSettings()
    replay: ReplaySettings = ReplaySettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        shorter = [i for i in self.timeframe.intervals if i.us % self.market.base_interval.us]
        if shorter:
            raise ValueError(
                f"timeframe.intervals {', '.join(shorter)} cannot be derived from market.base_interval "
                f"{self.market.base_interval}"
            )
        position = self.risk.position
        strangers = {*position.stop_loss_by_symbol, *position.trailing_stop_by_symbol} - {*self.market.symbols}
        if strangers:
            raise ValueError(f"risk.position names {', '.join(sorted(strangers))}, which market.symbols has not")
        if self.live.enabled and self.profile != "live":
            raise ValueError(f"live.enabled needs profile = 'live', found profile {self.profile!r}")
        return self

    @property
    def database(self) -> Path:
        return self.warehouse / "cappuccino.duckdb"

    @property
    def published(self) -> Path:
        return self.warehouse / "published.duckdb"

    @property
    def artifacts(self) -> Path:
        return self.warehouse / "artifacts"

    @property
    def desk(self) -> Path:
        """Folder of the trader: its ledger, its bars, its switches."""
        return self.warehouse / "desk"

    @property
    def is_simulated(self) -> bool:
        return self.market.source == "simulated"

    @classmethod
    def stored(cls, fields: Mapping[str, Any]) -> Settings:
        """Return the settings that `model_dump(mode="json")` gave; every key is there, so no other source speaks."""
        return cls(**fields)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = _file_in_use.get("path")
        toml = (TomlConfigSettingsSource(settings_cls, file),) if file else ()
        return (init_settings, env_settings, *toml, _ProfileSource(settings_cls, {}))


_file_in_use: dict[str, Path] = {}


def load(file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings from `file` (default `cappuccino.toml` if there), the environment and `overrides`.

    `overrides` is nested like the file and wins. Raises ConfigError naming each wrong key.
    """
    file = chosen_file(file)
    _refuse_unknown_environment()
    if file:
        _file_in_use["path"] = file
    try:
        return Settings(**(overrides or {}))
    except ValidationError as error:
        raise ConfigError(_explain(error, file)) from None
    except SettingsError as error:
        example = f"""{PREFIX}MARKET__SYMBOLS='["BTC/USD"]'"""
        raise ConfigError(f"a variable cannot be read: {error}; lists in the environment are JSON: {example}") from None
    except ValueError as error:  # a broken TOML file
        raise ConfigError(f"configuration cannot be read ({file or 'environment'}): {error}") from None
    finally:
        _file_in_use.clear()


def chosen_file(file: Path | None) -> Path | None:
    """Return the file to read: `file`, else that of CAPPUCCINO_CONFIG, else `cappuccino.toml`; None without one."""
    named = os.environ.get(f"{PREFIX}CONFIG")
    file = file or (Path(named) if named else None)
    if file is None:
        return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    if not file.is_file():
        raise ConfigError(
            f"configuration file {file} does not exist; create it, or leave out --config and {PREFIX}CONFIG"
        )
    return file


def differences(settings: Settings) -> list[tuple[str, Any, Any]]:
    """Return (key, specified, in use) for each number that the profile changed from the specification's."""
    reference = Settings.model_construct()
    changed = []
    for group, keys in PROFILES[settings.profile].items():
        for key in keys:
            specified, used = getattr(getattr(reference, group), key), getattr(getattr(settings, group), key)
            if specified != used:
                changed.append((f"{group}.{key}", specified, used))
    return changed


def _refuse_unknown_environment() -> None:
    """pydantic-settings ignores variables that it does not know; a typing error there must not pass."""
    known = {f"{PREFIX}CONFIG", f"{PREFIX}ENV_FILE"}
    for name, field in Settings.model_fields.items():
        known.add(f"{PREFIX}{name}".upper())
        known |= {f"{PREFIX}{name}__{path}".upper() for path in _paths(field.annotation)}
    unknown = sorted(v for v in os.environ if v.upper().startswith(PREFIX) and v.upper() not in known)
    if unknown:
        raise ConfigError(
            f"unknown environment variable {', '.join(unknown)}; keys are {PREFIX}<GROUP>__<KEY>, "
            "see `cappuccino config`"
        )


def _paths(annotation: Any) -> list[str]:
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return []
    paths = []
    for name, field in annotation.model_fields.items():
        paths += [name, *(f"{name}__{deeper}" for deeper in _paths(field.annotation))]
    return paths


def _explain(error: ValidationError, file: Path | None) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"]) or "settings"
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown key {key}; remove it or correct its name (`cappuccino config` lists all)")
        else:
            # A rule between several keys names them itself; the whole table beside it would only hide that.
            found = problem["input"]
            shown = "" if isinstance(found, Mapping | BaseModel) else f" (found {found!r})"
            lines.append(f"{key}: {problem['msg']}{shown}"[:400])
    return f"configuration{f' {file}' if file else ''} is wrong:\n  " + "\n  ".join(lines)


def utc(text: str) -> datetime:
    """Return a command-line date or time as aware UTC; raises ConfigError when it is neither."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is not a date or time such as 2025-06-30 or 2025-06-30T12:00Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
