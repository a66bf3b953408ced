"""Features of every bar, for each interval that the timeframe search looks at."""

import dagster as dg

from assets.tables import described, table_spec
from cappuccino.clock import Clock
from cappuccino.features.spec import FeatureSpec
from cappuccino.features.table import build_features
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse


@dg.multi_asset(
    name="features",
    specs=[
        table_spec(
            "features.features",
            deps=("market.bars_all",),
            automation_condition=dg.AutomationCondition.eager(),
        )
    ],
    pool="warehouse",
)
def features(
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[None]:
    """Features known now, replaced interval by interval."""
    spec = FeatureSpec.from_settings(settings.features)
    built = build_features(warehouse, settings.market.symbols, settings.timeframe.intervals, spec, clock.now())
    return dg.MaterializeResult(
        metadata={
            "features": len(spec.names),
            "names": ", ".join(spec.names),
            **{f"rows_{one.interval}": one.n_rows for one in built},
            **described(warehouse, "features.features"),
        }
    )
