"""Checks: of the bars before anything follows, and of every table's contract."""

from collections.abc import Iterator, Mapping

import dagster as dg
import polars as pl

from assets.tables import key_of, schema
from cappuccino.clock import Clock
from cappuccino.market.quality import MEANINGS, can_block
from cappuccino.market.ranges import Range
from cappuccino.market.record import check_record, worst_days
from cappuccino.settings import Settings
from cappuccino.store.models import run_tests
from cappuccino.store.schema import SqlFile
from cappuccino.store.warehouse import Warehouse
from cappuccino.watch import formats

BARS = key_of("market.bars")
_NAMED = 5


@dg.multi_asset_check(
    name="bar_quality",
    specs=[
        dg.AssetCheckSpec(name, asset=BARS, blocking=can_block(name), description=meaning)
        for name, meaning in MEANINGS.items()
    ],
)
def bar_quality(
    context: dg.AssetCheckExecutionContext,
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.AssetCheckResult]:
    """Look at the days of the run and whatever else has changed, and judge all that is known now; errors stop a run.

    What was found day by day is in ops.data_quality.
    """
    now = clock.now()
    found = check_record(warehouse, settings.market, now, _days(context))
    days = worst_days(warehouse, settings.market, now)
    for (name,), of_check in found.group_by("check", maintain_order=True):
        yield result(str(name), of_check, days.filter(pl.col("check") == name))


def result(name: str, found: pl.DataFrame, days: pl.DataFrame) -> dg.AssetCheckResult:
    """Return the verdict of one check: `found` has a row per symbol, `days` its worst days, the worst first."""
    failed = found.filter(~pl.col("passed"))
    is_error = "error" in failed["severity"].to_list()
    named = failed.sort("n_bad", descending=True, maintain_order=True).head(_NAMED)
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=BARS,
        passed=failed.is_empty(),
        severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
        description="; ".join(f"{row['symbol']}: {row['detail']}" for row in named.iter_rows(named=True)) or None,
        metadata={
            "n_bad": int(found["n_bad"].sum()),
            "n_checked": int(found["n_checked"].sum()),
            "symbols_failed": failed.height,
            **_worst(days),
        },
    )


def _worst(days: pl.DataFrame) -> Mapping[str, dg.MetadataValue]:
    if days.is_empty():
        return {}
    columns = ("day", "symbol", "n_bad", "n_checked", "detail")
    head = [" | ".join(formats.heading(name) for name in columns), " | ".join("---" for _ in columns)]
    rows = [" | ".join(formats.text(*cell) for cell in zip(columns, row, strict=True)) for row in days[columns].rows()]
    table = "\n".join(f"| {line} |" for line in (*head, *rows))
    return {"worst_day": dg.MetadataValue.text(str(days["day"][0])), "worst_days": dg.MetadataValue.md(table)}


def _days(context: dg.AssetCheckExecutionContext) -> Range | None:
    """Return the range of the bars that the run has synced; None, which is all of them, when it names no days."""
    if not (context.has_partition_key or context.has_partition_key_range):
        return None
    window = context.partition_time_window
    return window.start, window.end


def contract_checks() -> list[dg.AssetChecksDefinition]:
    """Return one set of checks for each table and model whose header lists tests."""
    files = (schema().contracts | schema().models).values()
    return [_contract_check(file) for file in files if file.tests]


def _contract_check(file: SqlFile) -> dg.AssetChecksDefinition:
    key = dg.AssetKey([file.schema, file.name])

    @dg.asset_check(
        asset=key,
        name="contract",
        description=f"The tests in the header of sql/{file.schema}/{file.name}.sql.",
    )
    def contract(warehouse: dg.ResourceParam[Warehouse]) -> dg.AssetCheckResult:
        with warehouse.read() as reader:
            results = run_tests(reader, file)
        broken = [result for result in results if result.n_failed]
        return dg.AssetCheckResult(
            passed=not broken,
            description="; ".join(
                f"{result.name}: {result.n_failed} rows, such as {result.sample}" for result in broken
            )
            or None,
            metadata={"tests": len(results), "rows_failed": sum(result.n_failed for result in broken)},
        )

    return contract
