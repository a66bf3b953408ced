"""Features of every bar, for each interval that the timeframe search looks at."""

import dagster as dg

from assets.tables import described, key_of, table_spec
from cappuccino.clock import Clock
from cappuccino.features.spec import FeatureSpec
from cappuccino.features.table import build_features
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse

INPUTS = ("market.books", "features.sentiment")
"""Tables beside bars, for features that name them."""


@dg.multi_asset(
    name="features",
    specs=[
        table_spec(
            "features.features",
            deps=("market.bars_all", *INPUTS),
            # Inputs are seen by the next build that bars ask for; a book a minute would ask for one a minute, and who
            # feeds no sentiment would wait for it for ever.
            automation_condition=dg.AutomationCondition.eager().ignore(dg.AssetSelection.assets(*map(key_of, INPUTS))),
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
