"""Commands on real money. Nothing here switches it on: that is `live.enabled`, which only the configuration sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cappuccino.commands.common import as_json_option, json_text, present, settings_of, show, warehouse_of
from cappuccino.errors import StageError

if TYPE_CHECKING:
    from cappuccino.brokers.coinbase import CoinbaseBroker
    from cappuccino.registry.capital import Confirmation
    from cappuccino.settings import Settings
    from cappuccino.store.warehouse import Reader

ENDING = 6
"""Last characters of the account's name that the operator types."""
reason_option = click.option("--reason", required=True, help="Why; stored with the decision.")


@click.group()
def live() -> None:
    """Show and pass the gates before real money: green light, account, capital steps.

    Everything here is about REAL MONEY on Coinbase. The way, step by step, is in docs/live.md.
    """


@live.command()
@click.option("--account", help="Account to look at [default: the one that was confirmed last].")
@as_json_option
@click.pass_context
def status(ctx: click.Context, account: str | None, as_json: bool) -> None:
    """Show every gate before real money with its numbers, the confirmed step, and why the next one may not come yet."""
    from cappuccino.registry.live_view import look

    settings = settings_of(ctx)
    with warehouse_of(settings).read() as reader:
        view = look(reader, settings, present(reader), account)
    if as_json:
        click.echo(json_text(view.as_dict()))
        return
    show(view.figures, "Green light: production on paper", as_json=False, empty=view.no_figures)
    show(view.gates, "Gates before real money", as_json=False)
    click.echo(view.verdict)


@live.command()
@reason_option
@as_json_option
@click.pass_context
def promote(ctx: click.Context, reason: str, as_json: bool) -> None:
    """Put the model in production live, for REAL MONEY, if the light is green and the switch is on.

    It trades nothing yet: that needs `cappuccino live confirm` as well.
    """
    from cappuccino.arena.candidate import load_candidate
    from cappuccino.registry.green_light import go_live
    from cappuccino.registry.live_record import read_paper_figures
    from cappuccino.registry.record import append_decisions, read_book
    from cappuccino.registry.rows import decision_row

    settings = settings_of(ctx)
    warehouse = warehouse_of(settings)
    with warehouse.read() as reader:
        model = read_book(reader).production
    if model is None:
        raise StageError("no model is in production; nothing can go live")
    load_candidate(settings.artifacts, model)
    with warehouse.write() as writer:
        now, book = present(writer), read_book(writer)
        if book.production != model:
            raise StageError(f"{model} left production meanwhile; nothing was changed, look at `cappuccino stages`")
        made = go_live(book, read_paper_figures(writer, settings, now), settings.live, now, reason)
        append_decisions(writer, made)
    if as_json:
        click.echo(json_text([decision_row(decision) for decision in made]))
        return
    click.echo(f"{model}: production -> live ({reason})\nNext: cappuccino live confirm --step 1")


@live.command()
@click.option("--step", required=True, type=click.IntRange(1), help="Capital step of live.capital_steps_usd, from 1.")
@click.option("--account", help="The whole account id; without it you are asked to type its end.")
@click.option("--reason", default="the operator confirmed it", show_default=True, help="Why; stored with it.")
@as_json_option
@click.pass_context
def confirm(ctx: click.Context, step: int, account: str | None, reason: str, as_json: bool) -> None:
    """Confirm the account and the capital step that REAL MONEY is traded with.

    Asks Coinbase which account the keys belong to, shows what it holds, and lets you say that it is the right one.
    Each step needs the one before to have been profitable for live.step_days.
    """
    from cappuccino.registry.live_record import append_confirmation

    settings = settings_of(ctx)
    warehouse = warehouse_of(settings)
    with warehouse.read() as reader:
        _require_live(reader, settings)
    broker = _broker(ctx, settings)
    account_id = broker.account_id()
    with warehouse.read() as reader:
        confirmation = _confirmation(reader, settings, step, account_id, reason)
    _show_account(broker, confirmation)
    _require_same_account(account_id, account)
    append_confirmation(warehouse, confirmation)
    if as_json:
        click.echo(json_text(vars(confirmation)))
        return
    click.echo(
        f"confirmed: {confirmation.model} may trade {confirmation.capital_usd:,.2f} USD of REAL MONEY "
        f"on account {account_id} (step {step})"
    )


@live.command()
@click.option("--account", help="Only this account [default: all that were confirmed].")
@reason_option
@as_json_option
@click.pass_context
def revoke(ctx: click.Context, account: str | None, reason: str, as_json: bool) -> None:
    """Take the confirmation of REAL MONEY back: the trader loses its permission to trade it.

    Needs no keys. The model stays in its stage; a later confirmation starts at step 1.
    """
    from cappuccino.registry.live_record import append_confirmation, revocations

    warehouse = warehouse_of(settings_of(ctx))
    with warehouse.read() as reader:
        made = revocations(reader, account, present(reader), reason)
    if not made:
        raise StageError(f"nothing is confirmed{f' on account {account}' if account else ''}; nothing was changed")
    for revocation in made:
        append_confirmation(warehouse, revocation)
    if as_json:
        click.echo(json_text([vars(revocation) for revocation in made]))
        return
    for revocation in made:
        click.echo(f"revoked: nothing is confirmed on account {revocation.account_id} any more ({reason})")


def _require_live(reader: Reader, settings: Settings) -> None:
    """Raise StageError when no account has to be asked: the switch is off, or nobody is live."""
    from cappuccino.registry.live_record import live_reasons, switch_reasons
    from cappuccino.registry.record import read_book

    failed = [*switch_reasons(settings), *live_reasons(read_book(reader), settings)]
    if failed:
        raise StageError("nothing can be confirmed; " + "; ".join(failed))


def _broker(ctx: click.Context, settings: Settings) -> CoinbaseBroker:
    from cappuccino.brokers.coinbase import CoinbaseBroker, quote_of
    from cappuccino.clock import SystemClock
    from cappuccino.credentials import coinbase_keys

    keys = coinbase_keys(ctx.find_root().obj.get("config"))
    return CoinbaseBroker(settings.coinbase, keys, SystemClock(), quote=quote_of(settings.market.symbols))


def _confirmation(reader: Reader, settings: Settings, step: int, account_id: str, reason: str) -> Confirmation:
    """Return what would be stored; raises StageError with every reason why it may not be."""
    from cappuccino.registry.capital import Confirmation, capital_usd
    from cappuccino.registry.live_record import BROKER, confirmation_reasons
    from cappuccino.registry.record import read_book

    now, book = present(reader), read_book(reader)
    failed = confirmation_reasons(reader, book, settings, now, account_id, step)
    capital = capital_usd(step, settings.live)
    if failed or book.live is None or capital is None:
        raise StageError(f"step {step} cannot be confirmed; " + "; ".join(failed))
    return Confirmation(BROKER, account_id, step, capital, book.live, reason, now)


def _show_account(broker: CoinbaseBroker, confirmation: Confirmation) -> None:
    """Say what is about to be confirmed, on stderr; raises BrokerError when the account cannot be read."""
    rights, holdings = broker.permissions(), broker.holdings()
    lines = [
        f"REAL MONEY: account {confirmation.account_id} at {confirmation.broker}",
        f"  cash: {holdings.cash_usd:,.2f} USD, of which {holdings.free_cash_usd:,.2f} can be spent",
        *(f"  {symbol.partition('/')[0]}: {units.normalize():f}" for symbol, units in sorted(holdings.units.items())),
        f"  step {confirmation.step}: {confirmation.capital_usd:,.2f} USD, traded by {confirmation.model}",
    ]
    if rights and rights.can_transfer:
        lines.append("  warning: these keys may also move money away; make keys that may only view and trade")
    click.echo("\n".join(lines), err=True)
    if rights and not rights.can_trade:
        raise StageError("these keys may not trade; make keys that may, and confirm then")


def _require_same_account(account_id: str, named: str | None) -> None:
    """Raise StageError unless the operator names the account: all of it as an option, or its end when asked."""
    if named is None:
        typed = click.prompt(f"Type the last {ENDING} characters of the account to confirm it", err=True)
        is_same = typed.strip() == account_id[-ENDING:]
    else:
        is_same = named == account_id
    if not is_same:
        raise StageError(f"the keys belong to account {account_id}, which is not the one you named; nothing was stored")
