"""The arena: candidates enter, fight one after the other, and the winner of a streak goes to the sandbox."""

from collections.abc import Iterator

import dagster as dg

from assets.pictures import picture
from assets.tables import results, table_spec
from cappuccino.arena.record import play_arena
from cappuccino.clock import Clock
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.watch import plots
from cappuccino.watch.due import require_fresh

TABLES = ("arena.matches", "arena.gates")


@dg.multi_asset(
    name="arena",
    specs=[table_spec(table, deps=("lab.trials", "lab.ensembles", "market.bars_all")) for table in TABLES],
    pool="warehouse",
)
def arena(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.MaterializeResult[None]]:
    """Everything that can be played now: new candidates enter, matches follow until the challengers are used up."""
    with warehouse.read() as reader:
        require_fresh(reader, settings, clock.now(), "promotion")
    season = play_arena(warehouse, settings, clock.now(), on_match=context.log.info)
    figures = {
        "entered": season.n_entered,
        "matches_played": season.n_matches,
        "promoted": ", ".join(map(str, season.promoted)) or "nobody",
        "champion": str(season.champion or "nobody"),
        "ladder": picture(
            plots.ladder(
                warehouse.query("select * from arena.ladder"),
                streak=settings.arena.streak,
                simulated=settings.is_simulated,
            )
        ),
    }
    yield from results(warehouse, TABLES, figures)
