"""Checks: of the bars before anything follows, and of every table's contract."""

from collections.abc import Iterator

import dagster as dg

from assets.tables import key_of, schema
from cappuccino.clock import Clock
from cappuccino.market.quality import MEANINGS
from cappuccino.market.record import check_record
from cappuccino.settings import Settings
from cappuccino.store.models import run_tests
from cappuccino.store.schema import SqlFile
from cappuccino.store.warehouse import Warehouse

BARS = key_of("market.bars")


@dg.multi_asset_check(
    name="bar_quality",
    specs=[
        dg.AssetCheckSpec(name, asset=BARS, blocking=True, description=meaning) for name, meaning in MEANINGS.items()
    ],
)
def bar_quality(
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.AssetCheckResult]:
    """Look at every bar known now, and store what was found in ops.data_quality; errors stop what follows."""
    rows = check_record(warehouse, settings.market, clock.now())
    for (name,), of_check in rows.group_by("check", maintain_order=True):
        failed = of_check.filter(~of_check["passed"])
        is_error = "error" in failed["severity"].to_list()
        yield dg.AssetCheckResult(
            check_name=str(name),
            asset_key=BARS,
            passed=failed.is_empty(),
            severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
            description="; ".join(f"{row['symbol']}: {row['detail']}" for row in failed.head(5).iter_rows(named=True))
            or None,
            metadata={"n_bad": int(of_check["n_bad"].sum()), "n_checked": int(of_check["n_checked"].sum())},
        )


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
