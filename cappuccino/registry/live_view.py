"""What `cappuccino live status` shows: every gate before real money, with its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from cappuccino.errors import StageError
from cappuccino.registry.capital import capital_usd
from cappuccino.registry.green_light import PaperFigures, green_light
from cappuccino.registry.live_record import (
    Permission,
    confirmation_reasons,
    decided_figures,
    held_confirmation,
    live_permission,
    live_reasons,
    read_confirmations,
    read_paper_figures,
    switch_reasons,
)
from cappuccino.registry.record import read_book
from cappuccino.registry.stages import StageBook
from cappuccino.settings import LiveSettings, Settings
from cappuccino.store.warehouse import Reader

_FIGURES = {"gate": pl.String, "value": pl.Float64, "needed": pl.String, "passes": pl.Boolean}
_GATES = {"gate": pl.String, "passes": pl.Boolean, "detail": pl.String}


@dataclass(frozen=True)
class View:
    """All gates at one moment."""

    figures: pl.DataFrame
    """One row for each gate of the green light."""
    no_figures: str
    """Why there are none."""
    gates: pl.DataFrame
    permission: Permission | None

    @property
    def verdict(self) -> str:
        if self.permission is None:
            return "No real money is traded."
        return f"REAL MONEY: {self.permission.model} may trade {self.permission.capital_usd:,.2f} USD."

    def as_dict(self) -> dict[str, Any]:
        """Return it for machines."""
        allowed = None
        if self.permission is not None:
            allowed = {"model": str(self.permission.model), "capital_usd": self.permission.capital_usd}
        return {
            "permission": allowed,
            "green_light": self.figures.to_dicts(),
            "no_figures": self.no_figures,
            "gates": self.gates.to_dicts(),
        }


def look(reader: Reader, settings: Settings, now: datetime, account_id: str | None) -> View:
    """Return all gates as they stand; without an account, on the one that was confirmed last."""
    book = read_book(reader)
    account = account_id or _last_account(reader)
    figures, no_figures = _paper(reader, book, settings, now)
    permission = live_permission(reader, settings, now, account)
    return View(
        figures=_figure_rows(figures, settings.live),
        no_figures=no_figures,
        gates=_gate_rows(reader, book, settings, now, account),
        permission=permission if isinstance(permission, Permission) else None,
    )


def _last_account(reader: Reader) -> str:
    made = read_confirmations(reader)
    return made[-1].account_id if made else ""


def _paper(reader: Reader, book: StageBook, settings: Settings, now: datetime) -> tuple[PaperFigures | None, str]:
    """Return the figures that the model went live on, or else those of production now."""
    if book.live is not None:
        figures = decided_figures(book.latest[book.live])
        return figures, "" if figures else f"the decision on {book.live} has none"
    try:
        return read_paper_figures(reader, settings, now), ""
    except StageError as error:
        return None, str(error)


def _figure_rows(figures: PaperFigures | None, settings: LiveSettings) -> pl.DataFrame:
    if figures is None:
        return pl.DataFrame(schema=_FIGURES)
    failed = {text.partition(":")[0] for text in green_light(figures, settings)}
    rows = [
        ("days", figures.days, f"at least {settings.window_days:g}"),
        ("alpha", figures.alpha_frac, f"above {settings.min_alpha:g}"),
        ("sharpe", figures.sharpe_annualized, f"above {settings.min_sharpe:g}"),
        ("drawdown", figures.max_drawdown_frac, f"below {settings.max_drawdown_frac:g}"),
        ("errors", float(figures.n_critical_errors), "none critical"),
        ("market", float(figures.is_simulated), "0: bars that were really traded"),
    ]
    return pl.DataFrame([(*row, row[0] not in failed) for row in rows], schema=_FIGURES, orient="row")


def _gate_rows(reader: Reader, book: StageBook, settings: Settings, now: datetime, account: str) -> pl.DataFrame:
    held = held_confirmation(reader, book, account)
    confirmed = f"step {held.step}, {held.capital_usd:,.2f} USD on account {account}" if held else ""
    coming = (held.step if held else 0) + 1
    money = capital_usd(coming, settings.live)
    against = confirmation_reasons(reader, book, settings, now, account, coming) if money else ["all are confirmed"]
    rows = [
        ("switch", switch_reasons(settings), "profile live, live.enabled"),
        ("live model", live_reasons(book, settings), str(book.live)),
        ("confirmation", [] if held else ["no account and capital are confirmed"], confirmed),
        (f"step {coming}", against, f"{money or 0:,.2f} USD may be confirmed"),
    ]
    table = [(gate, not failed, "; ".join(failed) or fine) for gate, failed, fine in rows]
    return pl.DataFrame(table, schema=_GATES, orient="row")
