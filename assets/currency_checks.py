"""Checks that warn of what was made from bars that have been corrected since: features, studies, models."""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg
import polars as pl

from assets.tables import key_of
from cappuccino.store.warehouse import Warehouse

NAME = "up_to_date"
MOST_SHOWN = 5


@dataclass(frozen=True)
class _Watched:
    """What one check looks at, and what its reader can do."""

    table: str
    rows: str
    """Condition on ops.data_seen."""
    advice: str


WATCHED = (
    _Watched(
        "features.features",
        "kind = 'features'",
        "materialise market/bars_all and features/features again, then train anew",
    ),
    _Watched(
        "lab.studies",
        "kind <> 'features'",
        "materialise features/features, lab/timeframe_choices and lab/studies again",
    ),
    _Watched(
        "promotion.stages",
        "len(models) > 0",
        "these models learned from bars that are different now; train a new study and let its models compete",
    ),
)
KEYS = tuple(dg.AssetCheckKey(key_of(one.table), NAME) for one in WATCHED)
"""For selections: these checks are worth a run after every sync of bars."""


def currency_checks() -> list[dg.AssetChecksDefinition]:
    """Return the checks of features, of the newest studies, and of the models that are not retired; all only warn."""
    return [_check(one) for one in WATCHED]


def _check(watched: _Watched) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=key_of(watched.table),
        name=NAME,
        additional_deps=[key_of("ops.data_seen")],
        description="Whether the bars behind it are still what they were when it was made; see ops.data_seen.",
        automation_condition=dg.AutomationCondition.eager(),
    )
    def up_to_date(warehouse: dg.ResourceParam[Warehouse]) -> dg.AssetCheckResult:
        rows = warehouse.query(f"from ops.data_seen where is_in_use and ({watched.rows})")
        return _result(rows, watched.advice)

    return up_to_date


def _result(rows: pl.DataFrame, advice: str) -> dg.AssetCheckResult:
    """Return a warning that names the rows that are out of date; a row whose past is not known is none."""
    late = rows.filter(pl.col("is_out_of_date"))
    named = "; ".join(_told(**row) for row in late.head(MOST_SHOWN).iter_rows(named=True))
    more = f"; and {len(late) - MOST_SHOWN} more" if len(late) > MOST_SHOWN else ""
    return dg.AssetCheckResult(
        passed=late.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        description=f"out of date: {named}{more}; {advice}" if len(late) else None,
        metadata={
            "n_checked": len(rows),
            "n_out_of_date": len(late),
            "n_unknown": int(rows["is_out_of_date"].null_count()),
        },
    )


def _told(**row: object) -> str:
    since = f", bars changed at {row['known_since_utc']:%F %R}" if row["known_since_utc"] else ""
    models = row["models"]
    held = f" [{', '.join(models)}]" if isinstance(models, list) and models else ""
    return f"{row['kind']} {row['name']}{held} (bars {row['from_utc']:%F %R} to {row['to_utc']:%F %R}{since})"
