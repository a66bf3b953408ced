"""Materialise assets in this process, quietly, with Dagster's records kept for the UI."""

from __future__ import annotations

import logging
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg
import torch

from cappuccino.clock import Clock
from cappuccino.errors import CappuccinoError, DataError, error_named
from cappuccino.market.sync import OnProgress
from cappuccino.settings import Settings
from dagster_project.definitions import build_definitions
from dagster_project.instance import prepare_home
from dagster_project.jobs import ONLY_MISSING

if TYPE_CHECKING:
    from dagster import SerializableErrorInfo
    from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation


@dataclass(frozen=True)
class Outcome:
    """One run: whether everything succeeded, and which checks did not."""

    run_id: str
    failed_checks: tuple[str, ...]


class Materializer:
    """Runs assets of one configuration in this process."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance, on_progress: OnProgress | None = None) -> None:
        self.settings, self.instance, self._on_progress = settings, instance, on_progress

    def run(
        self,
        job: str,
        clock: Clock | None = None,
        days: tuple[str, str] | None = None,
        on_step: Callable[[str, float], None] | None = None,
    ) -> Outcome:
        """Run a job as of `clock`; where it has bars, for those of the days [first, last] that are missing.

        `on_step(name, seconds)` hears of every step that succeeds. Raises the CappuccinoError that stopped it,
        DataError for failed checks that block.
        """
        definitions = build_definitions(self.settings, clock, self._on_progress)
        return self._execute(definitions.resolve_job_def(job), days, only_missing=days is not None, on_step=on_step)

    def materialize(
        self,
        selection: dg.AssetSelection,
        days: tuple[str, str] | None = None,
        *,
        clock: Clock | None = None,
        only_missing: bool = False,
    ) -> Outcome:
        """Materialise the selected assets, as of `clock` or the configured one; raises as `run` does.

        Bars of `days` are replaced, or with `only_missing` a venue is asked only for what was never synced.
        """
        job = dg.define_asset_job("materialize", selection)
        project = build_definitions(self.settings, clock, self._on_progress)
        definitions = dg.Definitions.merge(project, dg.Definitions(jobs=[job]))
        return self._execute(definitions.resolve_job_def("materialize"), days, only_missing=only_missing)

    def _execute(
        self,
        job: dg.JobDefinition,
        days: tuple[str, str] | None,
        *,
        only_missing: bool,
        on_step: Callable[[str, float], None] | None = None,
    ) -> Outcome:
        tags = (
            {"dagster/asset_partition_range_start": days[0], "dagster/asset_partition_range_end": days[1]}
            if days
            else {}
        )
        run_id = str(uuid.uuid4())
        if on_step:
            self.instance.add_event_listener(run_id, partial(_hear, on_step))
        result = job.execute_in_process(
            run_id=run_id,
            instance=self.instance,
            tags=tags,
            raise_on_error=False,
            run_config={
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                **(ONLY_MISSING if only_missing else {}),
            },
        )
        failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
        if not result.success:
            raise _reason(result, [check for check in failed if check.severity is dg.AssetCheckSeverity.ERROR])
        return Outcome(result.run_id, tuple(map(_line, failed)))


@contextmanager
def materializer(
    settings: Settings, on_progress: OnProgress | None = None, *, recorded: bool = True
) -> Iterator[Materializer]:
    """Run assets with Dagster's records under the warehouse, or without; `on_progress` hears of long syncs."""
    prepare_home(settings.warehouse)
    torch.set_num_threads(1)  # one account on one bar: several threads mostly wait for each other
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        # Beta notices of Dagster are for its developers, not for the user of a command.
        warnings.simplefilter("ignore")
        with dg.DagsterInstance.get() if recorded else dg.DagsterInstance.ephemeral() as instance:
            yield Materializer(settings, instance, on_progress)


def _hear(on_step: Callable[[str, float], None], entry: dg.EventLogEntry) -> None:
    event = entry.dagster_event
    if event is not None and event.is_step_success and event.step_key:
        on_step(event.step_key, event.step_success_data.duration_ms / 1e3)


def _line(check: AssetCheckEvaluation) -> str:
    return f"{check.asset_key.to_user_string()}:{check.check_name}: {check.description or 'failed'}"


def _reason(result: dg.ExecuteInProcessResult, failed_checks: list[AssetCheckEvaluation]) -> CappuccinoError:
    """Return what stopped the run: the first error in its own class and words, or the checks that failed."""
    for where, error in _errors(result):
        while error.cause is not None:
            error = error.cause
        if error.cls_name != "DagsterAssetCheckFailedError":
            return _known_error(error.cls_name or "", error.message, where, result.run_id)
    blocking = "\n  ".join(map(_line, failed_checks))
    return DataError(f"run {result.run_id} stopped at its checks, and nothing that follows was made:\n  {blocking}")


def _errors(result: dg.ExecuteInProcessResult) -> Iterator[tuple[str, SerializableErrorInfo]]:
    """Yield where and why: failed steps, then what failed before any step, such as opening the warehouse."""
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error:
            yield event.step_key or "a step", event.step_failure_data.error
    for event in result.all_events:
        if event.is_job_failure and event.job_failure_data.error:
            yield "before the first step", event.job_failure_data.error


def _known_error(name: str, message: str, step: str, run_id: str) -> CappuccinoError:
    if name == "DagsterExecutionInterruptedError":
        return CappuccinoError(f"stopped by a signal during {step}; the same command goes on from there")
    text = message.partition(": ")[2].strip() if name in message.partition(": ")[0] else message.strip()
    kind = error_named(name)
    if kind is CappuccinoError:
        text = f"{name}: {text}\nCappuccino did not expect this error; `cappuccino ui` has the log of run {run_id}"
    return kind(f"{step}: {text}")
