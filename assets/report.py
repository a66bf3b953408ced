"""The report: one HTML page of the warehouse as it stands, and its main plots for the UI."""

import dagster as dg

from assets.pictures import picture
from cappuccino.clock import Clock
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.watch import plots
from cappuccino.watch.report import read_frames, write_report


@dg.asset(
    key=["ops", "report"],
    deps=[["promotion", "decisions"], ["desk", "equity"], ["lab", "leaderboard"], ["arena", "ladder"]],
    group_name="ops",
    kinds={"python"},
)
def report(
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[None]:
    """A page with stages, production beside the baselines, arena, leaderboard, searches and data quality."""
    with warehouse.read() as reader:
        frames = read_frames(reader, settings)
    file = write_report(frames, settings, clock.now(), settings.warehouse / "report.html")
    warehouse.publish(settings.published)
    return dg.MaterializeResult(
        metadata={
            "report": dg.MetadataValue.path(file.absolute()),
            "simulated": settings.is_simulated,
            "leaderboard": picture(plots.leaderboard(frames["leaderboard"], simulated=settings.is_simulated)),
        }
    )
