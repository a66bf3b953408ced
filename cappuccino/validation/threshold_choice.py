"""Would other thresholds have served a subject better than today's, and is that more than the luck of a large grid?

A model trades bars that it was not trained on, a baseline the last year, both under the traders' rules. The range ends
before the holdout: a threshold that was chosen there would make its figures worthless.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from cappuccino.clock import require_utc
from cappuccino.errors import ConfigError, DataError
from cappuccino.market.panel import BarPanel
from cappuccino.registry.version import code_version
from cappuccino.risk.rules import Rules
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.validation.backtest import Stretch, Subject, find_subject, run_name, stretch_of
from cappuccino.validation.baselines import BASELINES, table_policy
from cappuccino.validation.evaluate import Policy
from cappuccino.validation.overfitting import MIN_DAYS, MIN_DEFLATED_SHARPE, Verdict, judge_study
from cappuccino.validation.seal import Seal, sealed_from
from cappuccino.validation.superiority import SIGNIFICANT, Superiority, superiority
from cappuccino.validation.threshold_grid import Candidates, Unit, Values, candidates
from cappuccino.validation.thresholds import Say, ThresholdStudy, threshold_study

BASELINE_DAYS = 365
"""Days that a baseline is studied on when no start is asked for."""


@dataclass(frozen=True)
class Choice:
    """A subject under many thresholds, and what choosing the best of them is worth."""

    subject: Subject
    settings: Settings
    rules: Rules
    stretch: Stretch
    tried: Candidates
    study: ThresholdStudy
    verdict: Verdict
    """On the best Sharpe of all points, with each of them as a trial."""
    superiority: Superiority
    """Of the best over today's."""

    @cached_property
    def name(self) -> str:
        """The same for the same subject, range, settings and points."""
        points = [sorted(point.items()) for point in self.tried.points]
        return run_name(self.subject, self.settings, self.stretch, points)

    @property
    def is_above_luck(self) -> bool:
        """Whether the best of the grid has more than luck among so many would give it."""
        return self.verdict.n_days >= MIN_DAYS and self.verdict.deflated_sharpe >= MIN_DEFLATED_SHARPE

    @property
    def is_above_todays(self) -> bool:
        """Whether it leads today's by more than the luckiest of so many would."""
        return self.verdict.n_days >= MIN_DAYS and self.superiority.p_value < SIGNIFICANT

    @cached_property
    def code_version(self) -> str:
        return code_version()


def choose_thresholds(
    subject: str,
    warehouse: Warehouse,
    settings: Settings,
    now: datetime,
    start: datetime | None = None,
    stop: datetime | None = None,
    *,
    values: Values | None = None,
    unit: Unit | None = None,
    by_symbol: bool = False,
    say: Say = lambda _: None,
) -> Choice:
    """Run `subject` over [start, stop] once under each point of `threshold_grid.candidates`; nothing is stored.

    Without `start` a model begins where its training ended, a baseline a year before the end. Without `stop` the range
    ends where the holdout begins. Raises ConfigError for a range that reaches into it or is empty and for numbers that
    are no thresholds, DataError for too few bars, and what `find_subject` raises.
    """
    chosen = find_subject(subject, warehouse, settings)
    end = _end(chosen, warehouse, settings, now, stop)
    begin = require_utc(start) if start else chosen.unseen_from or _a_year_before(chosen, warehouse, end)
    stretch = stretch_of(chosen, warehouse, settings, begin, end, is_end_asked=stop is not None)
    panel, row = stretch.panel, stretch.row
    _require_days(panel, row)
    rules, seed = Rules.of(settings.risk, settings.costs), settings.training.seed
    tried = candidates(rules, panel.symbols, values or {}, unit, by_symbol)
    say(
        f"{chosen.name}: {len(tried)} points, {len(panel) - row - 1:,} {panel.interval} bars from {stretch.start:%F %R}"
    )
    policy = policy_of(chosen, stretch, seed)
    cash_usd = settings.sandbox.cash_usd
    study = threshold_study(policy, panel, row, len(panel), rules, tried.points, cash_usd=cash_usd, say=say)
    verdict = judge_study(study.daily_returns, len(tried), seed=seed)
    lead = superiority(study.daily_returns, seed=seed)
    return Choice(chosen, settings, rules, stretch, tried, study, verdict, lead)


def policy_of(subject: Subject, stretch: Stretch, seed: int) -> Policy:
    """Return the decisions of a model or a baseline over a stretch."""
    if subject.candidate is not None:
        return subject.candidate.policy(stretch.panel)
    weights = BASELINES[subject.name](stretch.panel, stretch.row, len(stretch.panel), seed)
    return table_policy(stretch.panel, stretch.row, weights[:, None])


def conclusion(choice: Choice) -> str:
    """Return in a sentence what the study is worth."""
    n, lead, days = len(choice.tried), choice.superiority, choice.verdict.n_days
    if lead.difference_sharpe == 0.0:
        return f"Today's settings are the best of the {n}; nothing to change."
    if days < MIN_DAYS:
        return f"The best of {n} is not told from luck."
    if not choice.is_above_luck:
        return f"The best of {n} is not better than luck."
    if not choice.is_above_todays:
        return f"The best of {n} earns more than luck, but is not told from today's settings."
    return f"The best of {n} is better than luck, and better than today's settings, on these bars."


def _end(chosen: Subject, warehouse: Warehouse, settings: Settings, now: datetime, stop: datetime | None) -> datetime:
    """Return the end of the range, before the holdout of the present and before the model's own while it is closed."""
    seal = Seal.at(settings, now).arena_until
    if chosen.model:
        with warehouse.read() as reader:
            seal = min(seal, sealed_from(reader, chosen.model) or seal)
    if stop is not None and require_utc(stop) > seal:
        raise ConfigError(
            f"bars from {seal:%F %R} UTC on are the holdout, and thresholds that were chosen there would make its "
            f"figures worthless: --to {stop:%F %R} reaches into it; choose {seal:%F %R} or earlier"
        )
    return seal if stop is None else require_utc(stop)


def _a_year_before(chosen: Subject, warehouse: Warehouse, end: datetime) -> datetime | None:
    """Return the usual start of a baseline; None, which is as soon as it can, when the bars begin later."""
    with warehouse.read() as reader:
        known = reader.one(
            """
            select max(from_utc) from (
                select min(opened_at_utc) as from_utc from market.bars
                where list_contains($symbols, symbol) group by symbol
            )
            """,
            symbols=list(chosen.market.symbols),
        )
    start = end - timedelta(days=BASELINE_DAYS)
    room = (
        chosen.history_bars + 2
    ) * chosen.market.interval.duration  # longer bars begin later than those of the record
    return start if known and known[0] and known[0] < start - room else None


def _require_days(panel: BarPanel, row: int) -> None:
    n_days = (len(panel) - row - 1) // panel.interval.per_day
    if n_days < 2:
        raise DataError(f"the range has {n_days} whole days; thresholds are judged by daily returns, give at least two")
