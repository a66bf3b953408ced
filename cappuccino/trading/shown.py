"""What the trader has done, for people: from its ledger, or from the copy in the warehouse where there is no ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl

from cappuccino.errors import UnknownName
from cappuccino.risk.rules import rule_names
from cappuccino.settings import PositionSettings, Settings
from cappuccino.store.warehouse import Reader, Warehouse
from cappuccino.trading.explain import Explanation
from cappuccino.trading.ledger import Ledger
from cappuccino.trading.ledger_frames import desk_table, frame_of, ledger_at, time_column
from cappuccino.trading.order_states import OrderState

OPEN = tuple(state.value for state in OrderState if not state.is_final)
_MOMENT = {"orders": "recorded_us", "looks": "at_us"}
"""What rows of a table are newer by."""


class Records(Protocol):
    """Rows of the ledger's tables in the warehouse's shape."""

    def rows(self, table: str, newest: int | None = None, prefix: str = "", **equals: Any) -> pl.DataFrame:
        """Return the rows whose columns equal `equals`, or one of several, in the order of their last change.

        `prefix` is how `client_id` begins. Of orders and looks only the `newest` are returned where that is given.
        """
        ...

    def votes(self, decision: Mapping[str, Any]) -> pl.DataFrame:
        """Return what the members of an ensemble voted: symbol, member_study, member_trial, vote, weight, is_active."""
        ...


@dataclass(frozen=True)
class Why:
    """Everything that is known of one order."""

    order: Mapping[str, Any]
    decision: Mapping[str, Any] | None
    rules: tuple[str, ...]
    """Names of the rules that changed the decision."""
    explanation: Explanation | None
    votes: pl.DataFrame
    conviction: pl.DataFrame
    events: pl.DataFrame
    fills: pl.DataFrame


@contextmanager
def records_of(settings: Settings) -> Iterator[Records]:
    """Open the ledger, or else the warehouse; raises LedgerError or WarehouseError when that cannot be read."""
    with ledger_at(settings.desk) as ledger:
        if ledger is not None:
            yield _OfLedger(ledger)
            return
    with Warehouse(settings.database).read() as reader:
        yield _OfWarehouse(reader)


def accounts_shown(records: Records) -> pl.DataFrame:
    """Return one row for each open account: what it is worth and what stands in its way."""
    found = records.rows("accounts").filter(pl.col("closed_at_utc").is_null())
    return pl.DataFrame([_account(records, row) for row in found.sort("stage", "account").iter_rows(named=True)])


def positions_shown(records: Records, risk: PositionSettings) -> pl.DataFrame:
    """Return one row for each position held in an open account; `to_stop_frac` is how far its price may fall."""
    is_open = records.rows("accounts").filter(pl.col("closed_at_utc").is_null()).select("account")
    held = records.rows("positions").join(is_open, on="account", how="semi").filter(pl.col("units") > 0)
    stop_usd = pl.Series([_stop_usd(row, risk) for row in held.iter_rows(named=True)], dtype=pl.Float64)
    told = held.with_columns(
        pnl_usd=pl.col("units") * (pl.col("price_usd") - pl.col("entry_usd")),
        to_stop_frac=1 - stop_usd / pl.col("price_usd"),
    )
    return told.sort("account", "symbol").select(
        "account", "symbol", "units", "entry_usd", "price_usd", "value_usd", "pnl_usd", "to_stop_frac",
        "venue_units", "at_utc",
    )  # fmt: skip


def orders_shown(records: Records, newest: int, account: str | None = None, *, only_open: bool = False) -> pl.DataFrame:
    """Return the newest orders, the latest first: what was asked for, what came of it and what it cost."""
    where: dict[str, Any] = ({} if account is None else {"account": account}) | ({"state": OPEN} if only_open else {})
    orders = records.rows("orders", newest, **where)
    fills = records.rows("fills", client_id=tuple(orders["client_id"]))
    traded_usd = (pl.col("units").abs() * pl.col("price_usd")).sum()
    costs = fills.group_by("client_id").agg(shortfall_bps=1e4 * pl.col("shortfall_usd").sum() / traded_usd)
    priced = orders.join(costs, on="client_id", how="left").with_columns(
        side=pl.when(pl.col("side") > 0).then(pl.lit("buy")).otherwise(pl.lit("sell")),
        price_usd=pl.when(pl.col("filled_units") > 0).then(pl.col("filled_usd") / pl.col("filled_units")),
    )
    return priced.sort("recorded_at_utc", descending=True).select(
        "recorded_at_utc", "client_id", "account", "symbol", "side", "purpose", "state", "units", "filled_units",
        "decision_usd", "price_usd", "shortfall_bps", "is_maker", "reason",
    )  # fmt: skip


def why_shown(records: Records, name: str) -> Why:
    """Return what led to the order whose id begins with `name`; raises UnknownName when that is none or several."""
    found = records.rows("orders", prefix=name)
    if len(found) != 1:
        some = ", ".join(found["client_id"].head(5))
        raise UnknownName(
            f"{len(found)} orders begin with {name!r} ({some}); give more of it"
            if len(found)
            else f"no order begins with {name!r}; `cappuccino orders` lists them"
        )
    order = found.row(0, named=True)
    decided = records.rows("decisions", decision=order["decision"])
    decision = decided.row(0, named=True) if len(decided) else None
    return Why(
        order=order,
        decision=decision,
        rules=rule_names(order["rules"]),
        explanation=Explanation.from_json(decision["explanation"]) if decision and decision["explanation"] else None,
        votes=records.votes(decision).filter(pl.col("symbol") == order["symbol"]) if decision else pl.DataFrame(),
        conviction=records.rows("convictions", decision=order["decision"], symbol=order["symbol"]),
        events=records.rows("order_events", client_id=order["client_id"]).select("at_utc", "state", "note"),
        fills=records.rows("fills", client_id=order["client_id"]),
    )


class _OfLedger:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def rows(self, table: str, newest: int | None = None, prefix: str = "", **equals: Any) -> pl.DataFrame:
        several = {name: value if isinstance(value, tuple) else (value,) for name, value in equals.items()}
        conditions = [f"{name} in ({', '.join('?' * len(values))})" for name, values in several.items()]
        values = [value for one in several.values() for value in one]
        if prefix:
            conditions.append("substr(client_id, 1, ?) = ?")
            values += [len(prefix), prefix]
        order = "version, rowid" if newest is None else f"{_MOMENT[table]} desc, rowid desc limit {newest}"
        where = f"where {' and '.join(conditions)}" if conditions else ""
        found = self._ledger.rows(f"select * from {table} {where} order by {order}", *values)
        return frame_of(self._ledger, table, found)

    def votes(self, decision: Mapping[str, Any]) -> pl.DataFrame:
        return self.rows("votes", decision=decision["decision"]).drop("decision", "version")


class _OfWarehouse:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def rows(self, table: str, newest: int | None = None, prefix: str = "", **equals: Any) -> pl.DataFrame:
        several = {name: list(value) if isinstance(value, tuple) else [value] for name, value in equals.items()}
        conditions = [f"list_contains(${name}, {name})" for name in several]
        conditions += ["starts_with(client_id, $prefix)"] if prefix else []
        order = "version, rowid" if newest is None else f"{time_column(_MOMENT[table])} desc limit {newest}"
        where = f"where {' and '.join(conditions)}" if conditions else ""
        named = several | ({"prefix": prefix} if prefix else {})
        return self._reader.query(f"select * from {desk_table(table)} {where} order by {order}", **named)

    def votes(self, decision: Mapping[str, Any]) -> pl.DataFrame:
        return self._reader.query(
            """
            select symbol, member_study, member_trial, vote, weight, is_active from desk.votes
            where study = $study and trial = $trial and closed_at_utc = $closed_at_utc
            order by symbol, member_study, member_trial
            """,
            **{name: decision[name] for name in ("study", "trial", "closed_at_utc")},
        )


def _account(records: Records, row: Mapping[str, Any]) -> dict[str, Any]:
    looks = records.rows("looks", 1, account=row["account"])
    look = looks.row(0, named=True) if len(looks) else {}
    value_usd = look.get("value_usd", row["cash_usd"])
    return {
        "account": row["account"],
        "broker": row["broker"],
        "stage": row["stage"],
        "model": f"{row['study']}/{row['trial']}",
        "value_usd": value_usd,
        "cash_usd": json.loads(row["state"])["cash_usd"],
        "total_return_frac": value_usd / row["cash_usd"] - 1.0,
        "exposure_frac": look.get("exposure_frac"),
        "decided_at_utc": row["decided_at_utc"],
        "trouble": row["trouble"],
    }


def _stop_usd(row: Mapping[str, Any], risk: PositionSettings) -> float | None:
    """Return the price below which the position is sold; None when no stop of its own is on, or volatility moves it."""
    if risk.volatility_scaled:
        return None
    stop = risk.stop_loss_by_symbol.get(row["symbol"], risk.stop_loss_frac)
    trail = risk.trailing_stop_by_symbol.get(row["symbol"], risk.trailing_stop_frac)
    stops = [usd * (1.0 - frac) for usd, frac in ((row["entry_usd"], stop), (row["peak_usd"], trail)) if frac > 0]
    return max(stops, default=None)
