"""Decisions on who moves between the stages."""

import dagster as dg

from assets.tables import described, table_spec
from cappuccino.clock import Clock
from cappuccino.registry.record import judge_sandbox
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.watch.due import require_fresh


@dg.multi_asset(
    name="decisions",
    specs=[table_spec("promotion.decisions", deps=("arena.matches", "desk.equity"))],
    pool="warehouse",
)
def decisions(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[None]:
    """Verdicts on sandbox models whose time is over now."""
    with warehouse.read() as reader:
        require_fresh(reader, settings, clock.now(), "promotion")
    made = judge_sandbox(warehouse, settings.sandbox, clock.now())
    for decision in made:
        context.log.info(f"{decision.model}: {decision.from_stage} -> {decision.to_stage}, {decision.reason}")
    return dg.MaterializeResult(
        metadata={
            "decided_now": len(made),
            "decisions": "\n".join(f"- {d.model}: {d.from_stage} -> {d.to_stage}: {d.reason}" for d in made) or "none",
            **described(warehouse, "promotion.decisions"),
        }
    )
