"""Materialise assets in this process, quietly, with Dagster's records kept for the UI."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg

from cappuccino.clock import Clock
from cappuccino.errors import CappuccinoError, error_named
from cappuccino.settings import Settings
from dagster_project.definitions import build_definitions
from dagster_project.instance import prepare_home


@dataclass(frozen=True)
class Outcome:
    """One run: whether everything succeeded, and which checks did not."""

    run_id: str
    failed_checks: tuple[str, ...]


class Materializer:
    """Runs assets of one configuration in this process."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings, self.instance = settings, instance

    def run(self, job: str, clock: Clock | None = None, days: tuple[str, str] | None = None) -> Outcome:
        """Run a job as of `clock`, for the bar partitions [first, last] where it has bars.

        Raises the CappuccinoError that stopped it, CappuccinoError for failed checks that block.
        """
        definitions = build_definitions(self.settings, clock)
        return self._execute(definitions.resolve_job_def(job), days)

    def materialize(self, selection: dg.AssetSelection, days: tuple[str, str] | None = None) -> Outcome:
        """Materialise the selected assets, as of the configured clock; raises as `run` does."""
        job = dg.define_asset_job("materialize", selection)
        definitions = dg.Definitions.merge(build_definitions(self.settings), dg.Definitions(jobs=[job]))
        return self._execute(definitions.resolve_job_def("materialize"), days)

    def _execute(self, job: dg.JobDefinition, days: tuple[str, str] | None) -> Outcome:
        tags = (
            {"dagster/asset_partition_range_start": days[0], "dagster/asset_partition_range_end": days[1]}
            if days
            else {}
        )
        result = job.execute_in_process(
            instance=self.instance,
            tags=tags,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        failed = tuple(
            f"{e.asset_key.to_user_string()}:{e.check_name}: {e.description or 'failed'}"
            for e in result.get_asset_check_evaluations()
            if not e.passed
        )
        if not result.success:
            raise _reason(result, failed)
        return Outcome(result.run_id, failed)


@contextmanager
def materializer(settings: Settings) -> Iterator[Materializer]:
    """Open Dagster's records under the warehouse and run assets with them."""
    prepare_home(settings.warehouse)
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        # Beta notices of Dagster are for its developers, not for the user of a command.
        warnings.simplefilter("ignore")
        with dg.DagsterInstance.get() as instance:
            yield Materializer(settings, instance)


def _reason(result: dg.ExecuteInProcessResult, failed_checks: tuple[str, ...]) -> CappuccinoError:
    """Return the error of the first step that failed, in its own class and words."""
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            while error is not None and error.cause is not None:
                error = error.cause
            if error is not None:
                return _known_error(error.cls_name or "", error.message, event.step_key or "a step")
    blocking = "\n  ".join(failed_checks)
    return CappuccinoError(f"run {result.run_id} stopped at its checks:\n  {blocking}")


def _known_error(name: str, message: str, step: str) -> CappuccinoError:
    text = message.partition(": ")[2].strip() if name in message.partition(": ")[0] else message.strip()
    return error_named(name)(f"{step}: {text}")
