"""The `cappuccino` command. Each command's module is imported when it is called, so that help is instant."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import click

from cappuccino import __version__
from cappuccino.errors import CappuccinoError

# name -> (module:command, help). The library names the pipeline's commands as text: it never imports Dagster.
COMMANDS = {
    "run": (
        "dagster_project.commands.run:run",
        "Run the whole life of a model: bars to a production agent on paper.",
    ),
    "replay": (
        "dagster_project.commands.replay:replay",
        "Live through history again: sync what was known, retrain when due, arena, sandbox, promotion, trading.",
    ),
    "bars": ("dagster_project.commands.bars:bars", "Fetch bars, and look at what there is."),
    "materialize": ("dagster_project.commands.materialize:materialize", "Materialise single assets."),
    "assets": ("dagster_project.commands.materialize:assets", "List the assets."),
    "ui": ("dagster_project.commands.ui:ui", "Open the Dagster UI on this warehouse."),
    "trade": (
        "cappuccino.commands.trade:trade",
        "Trade on paper, and with real money past every gate: one look a minute, a decision on each closed bar.",
    ),
    "up": (
        "dagster_project.commands.up:up",
        "Run Dagster and the trader, and start again what dies or hangs.",
    ),
    "kill": (
        "cappuccino.commands.switches:kill",
        "Stop trading: cancel open orders and send none that adds risk, until `cappuccino resume`.",
    ),
    "resume": (
        "cappuccino.commands.switches:resume",
        "Clear the kill switch and every stop that lasts until a person looks, and say what still stops trading.",
    ),
    "positions": (
        "cappuccino.commands.desk:positions",
        "Show what every account of the trader holds and is worth, and what stands in its way.",
    ),
    "orders": (
        "cappuccino.commands.desk:orders",
        "Show the trader's orders: what was asked for, what was filled, and what it cost against the price decided on.",
    ),
    "why": (
        "cappuccino.commands.desk:why",
        "Say why an order was made: what moved the model, the votes, the conviction, the rules, and what became of it.",
    ),
    "reconcile": (
        "cappuccino.commands.desk:reconcile",
        "Compare our book with what the venues hold: ours, theirs, the difference, and what follows from it.",
    ),
    "sql": ("cappuccino.commands.query:sql", "Ask the warehouse in SQL."),
    "stages": ("cappuccino.commands.models:stages", "Show where every model stands."),
    "production": (
        "cappuccino.commands.models:production",
        "Show the model in production beside the baselines.",
    ),
    "rollback": (
        "cappuccino.commands.models:rollback",
        "Put the model that was in production before back there.",
    ),
    "promote": ("cappuccino.commands.models:promote", "Move a model one stage up."),
    "demote": ("cappuccino.commands.models:demote", "Move a model one stage down."),
    "retire": ("cappuccino.commands.models:retire", "Take a model out for good."),
    "live": (
        "cappuccino.commands.live:live",
        "Show and pass the gates before real money: green light, account, capital steps.",
    ),
    "audit": (
        "cappuccino.commands.audit:audit",
        "Check that a model does not look ahead, and that its scales, folds and fills are sound.",
    ),
    "reproduce": (
        "cappuccino.commands.reproduce:reproduce",
        "Train a trial again and compare weights, equity and scores with what was stored, bit by bit.",
    ),
    "backtest": (
        "cappuccino.commands.backtest:backtest",
        "Test a model, production, the ensemble or a baseline on history, through the engine that the traders use.",
    ),
    "thresholds": (
        "cappuccino.commands.thresholds:thresholds",
        "Try many thresholds of the risk rules on one subject, and say whether the best is more than luck.",
    ),
    "study": (
        "cappuccino.commands.study:study",
        "Look back at a study: what mattered, what was luck, what the worst trials share.",
    ),
    "report": ("cappuccino.commands.look:report", "Write the HTML report."),
    "doctor": (
        "cappuccino.commands.look:doctor",
        "Check environment, warehouse, configuration, source and disk.",
    ),
    "config": ("cappuccino.commands.look:config", "Show every configuration key with its value and meaning."),
}


def _remember(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Keep a shared option where `settings_of` finds it, wherever on the command line it stood."""
    if value is not None and parameter.name is not None:
        ctx.find_root().ensure_object(dict)[parameter.name] = value
    return value


def shared_options() -> list[click.Parameter]:
    """Return the options that may stand before or after the command's name."""
    hidden: dict[str, Any] = {"expose_value": False, "callback": _remember}
    return [
        click.Option(
            ["--config"],
            type=click.Path(path_type=Path),
            help="Configuration file [default: cappuccino.toml if there].",
            **hidden,
        ),
        click.Option(
            ["--warehouse"],
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder of everything that is written [default: warehouse].",
            **hidden,
        ),
        click.Option(
            ["--profile"],
            type=click.Choice(["demo", "paper", "live"]),
            help="Set of defaults [default: demo].",
            **hidden,
        ),
    ]


class LazyGroup(click.Group):
    """A group that knows the names and help of its commands before it imports any of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        for each in (command, *getattr(command, "commands", {}).values()):
            if not any(parameter.name == "warehouse" for parameter in each.params):
                each.params += shared_options()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CappuccinoError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Cappuccino: from market bars to an agent that trades on paper, every stage a table in DuckDB.

    Start with `cappuccino run`, then look around with `cappuccino stages` and
    `cappuccino sql "select * from lab.leaderboard"`.
    """
    ctx.ensure_object(dict)


main.params += shared_options()

if __name__ == "__main__":
    sys.exit(main())
