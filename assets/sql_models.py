"""Every `select` in sql/ is an asset: a view or table with its description, columns and dependencies."""

import dagster as dg

from assets.pictures import picture
from assets.tables import column_metadata, described, key_of, schema
from cappuccino.settings import Settings
from cappuccino.store.models import build
from cappuccino.store.schema import SqlFile
from cappuccino.store.warehouse import Warehouse
from cappuccino.watch import plots


def sql_models() -> list[dg.AssetsDefinition]:
    """Return one asset for each model of sql/."""
    return [_model_asset(file) for file in schema().models.values()]


def _model_asset(file: SqlFile) -> dg.AssetsDefinition:
    table = f"{file.schema}.{file.name}"

    @dg.asset(
        key=key_of(table),
        deps=[key_of(dep) for dep in file.depends_on],
        group_name=file.schema,
        description=f"{file.description}\n\nGrain: {file.grain}.\n\n```sql\n{file.sql}\n```",
        kinds={"duckdb", "sql", file.materialized},
        metadata=column_metadata(file),
        automation_condition=dg.AutomationCondition.eager(),
        pool="warehouse",
    )
    def model(
        settings: dg.ResourceParam[Settings], warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.MaterializeResult[None]:
        with warehouse.write() as writer:
            build(writer, file)
        return dg.MaterializeResult(metadata={**_pictures(table, warehouse, settings), **described(warehouse, table)})

    return model


def _pictures(table: str, warehouse: Warehouse, settings: Settings) -> dict[str, dg.MarkdownMetadataValue]:
    """Return what is better seen than read."""
    if table != "market.days":
        return {}
    days = warehouse.query("from market.days")
    return {"coverage": picture(plots.coverage(days, simulated=settings.is_simulated))}
