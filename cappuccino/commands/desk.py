"""Commands that look at what the trader does: positions, orders, why, reconcile."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from cappuccino.commands.common import as_json_option, json_text, settings_of, show

if TYPE_CHECKING:
    from cappuccino.settings import Settings
    from cappuccino.trading.shown import Records, Why


@click.command()
@as_json_option
@click.pass_context
def positions(ctx: click.Context, as_json: bool) -> None:
    """Show what every account of the trader holds and is worth, and what stands in its way."""
    from cappuccino.trading.shown import accounts_shown, positions_shown

    settings = settings_of(ctx)
    with _records(settings) as records:
        accounts, held = accounts_shown(records), positions_shown(records, settings.risk.position)
    if as_json:
        click.echo(json_text({"accounts": accounts.to_dicts(), "positions": held.to_dicts()}))
        return
    show(accounts, "Accounts", as_json=False, empty="no account is open; `cappuccino trade` opens them")
    show(held, "Positions", as_json=False, empty="nothing is held")


@click.command()
@click.option("--open", "only_open", is_flag=True, help="Only orders that are not over.")
@click.option("--account", help="Only this account.")
@click.option(
    "--last", "newest", type=click.IntRange(1), default=20, show_default=True, help="How many, the newest first."
)
@as_json_option
@click.pass_context
def orders(ctx: click.Context, only_open: bool, account: str | None, newest: int, as_json: bool) -> None:
    """Show the trader's orders: what was asked for, what was filled, and what it cost against the price decided on."""
    from cappuccino.trading.shown import orders_shown

    with _records(settings_of(ctx)) as records:
        found = orders_shown(records, newest, account, only_open=only_open)
    show(found, "Orders", as_json=as_json, empty="no order is open" if only_open else "no order was made yet")


@click.command()
@click.argument("order", metavar="ORDER")
@as_json_option
@click.pass_context
def why(ctx: click.Context, order: str, as_json: bool) -> None:
    """Say why an order was made: what moved the model, the votes, the conviction, the rules, and what became of it.

    ORDER is the order's id, or as much of its beginning as no other order shares.
    """
    from cappuccino.trading.shown import why_shown

    with _records(settings_of(ctx)) as records:
        found = why_shown(records, order)
    if as_json:
        click.echo(json_text(_plain(found)))
    else:
        _tell(found)


@click.command()
@click.option("--adopt", is_flag=True, help="Take over what the venue holds, after you have looked at it.")
@as_json_option
@click.pass_context
def reconcile(ctx: click.Context, adopt: bool, as_json: bool) -> None:
    """Compare our book with what the venues hold: ours, theirs, the difference, and what follows from it."""
    from cappuccino.trading.emergency import reconcile as compare

    found = compare(settings_of(ctx), adopt)
    show(found, "Our book and the venues", as_json=as_json, empty="nothing differs")


@contextmanager
def _records(settings: Settings) -> Iterator[Records]:
    from cappuccino.trading.shown import records_of

    with records_of(settings) as records:
        yield records


def _plain(found: Why) -> dict[str, Any]:
    frames = {name: getattr(found, name).to_dicts() for name in ("votes", "conviction", "events", "fills")}
    return {
        "order": dict(found.order),
        "decision": _decision(found.decision),
        "rules": list(found.rules),
        "explanation": asdict(found.explanation) if found.explanation else None,
        **frames,
    }


def _decision(decision: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the decision, its JSON columns as what they say."""
    if decision is None:
        return None
    nested = ("marks", "quotes", "action", "targets", "wanted", "state")
    told = {name: json.loads(decision[name]) if decision[name] else None for name in nested}
    return {name: value for name, value in decision.items() if name != "explanation"} | told


def _tell(found: Why) -> None:
    """Print the story of an order in the order in which it happened."""
    import polars as pl

    order, decision = found.order, _decision(found.decision)
    symbol, side = order["symbol"], "buy" if order["side"] > 0 else "sell"
    click.echo(f"{order['client_id']}: {side} {order['units']:g} {symbol} for {order['account']}, {order['purpose']}")
    if decision is None:
        click.echo("Its decision is not known any more.")
    else:
        click.echo(
            f"Decided ({decision['kind']}) at {decision['decided_at_utc']:%Y-%m-%d %H:%M:%S} UTC on the close of "
            f"{decision['closed_at_utc']:%Y-%m-%d %H:%M} by {decision['study']}/{decision['trial']}, "
            f"in {decision['latency_s']:.2f} s, at {order['decision_usd']:,.2f} USD"
        )
        for what in ("action", "targets", "wanted"):
            if decision[what]:
                click.echo(f"  {what}: {', '.join(f'{name} {value:.4g}' for name, value in decision[what].items())}")
    click.echo(f"  rules that changed it: {', '.join(found.rules) or 'none'}")
    if found.explanation:
        moved = [{"feature": one.group, "effect": one.by_symbol.get(symbol)} for one in found.explanation.effects]
        show(pl.DataFrame(moved), f"What moved the action of {symbol}", as_json=False)
    for title, frame in (("Votes", found.votes), ("Conviction", found.conviction), ("Events", found.events)):
        if len(frame):
            show(frame.drop("decision", "version", strict=False), title, as_json=False)
    fills = found.fills.select(pl.col("filled_at_utc", "units", "price_usd", "fee_usd", "shortfall_usd", "is_maker"))
    show(fills, "Fills", as_json=False, empty="nothing was filled")
    if order["reason"]:
        click.echo(f"{order['state']}: {order['reason']}")
