"""From the trader's accounts to the tables that know models: desk.accounts, desk.equity, desk.fills and desk.votes.

Verdicts, reports and baselines look at one account for each model. Where the trader keeps several at a time, the live
one counts, and before there is one the virtual one: its record goes on when the model comes to a venue's account.
"""

from __future__ import annotations

import polars as pl

from cappuccino.store.warehouse import Reader, Writer

STAGES = ("sandbox", "production", "live")
_MODEL = ("study", "trial")


def store(writer: Writer, table: str, rows: pl.DataFrame) -> None:
    """Store what `rows` of the ledger's `table`, which are in the trader's own tables already, say of models."""
    match table:
        case "accounts":
            _store_accounts(writer, rows)
        case "equity":
            _store_equity(writer, rows)
        case "fills":
            _store_fills(writer, rows)
        case "votes":
            _store_votes(writer, rows)


def _store_accounts(writer: Writer, rows: pl.DataFrame) -> None:
    touched = _ranked(writer).join(rows.select(_MODEL).unique(), on=_MODEL, how="semi")
    newest = touched.sort(pl.col("closed_at_utc").is_null(), "rank").unique(_MODEL, keep="last", maintain_order=True)
    writer.upsert(
        "desk.accounts",
        newest.select(
            *_MODEL,
            "opened_at_utc",
            pl.coalesce("marked_at_utc", "decided_at_utc", "opened_at_utc").alias("traded_until_utc"),
            "cash_usd",
            "state",
            pl.lit("trader").alias("kept_by"),
        ),
    )
    # Whom the trader has let go, the desk takes over.
    writer.execute(
        """
        update desk.accounts set kept_by = 'desk'
        where kept_by = 'trader' and (study, trial) not in (
            select (study, trial) from desk.trader_accounts where closed_at_utc is null
        )
        """
    )


def _store_equity(writer: Writer, rows: pl.DataFrame) -> None:
    known = rows.filter(pl.col("stage").is_in(STAGES))
    chosen = _of_models(_ranked(writer), known, "closed_at_utc").drop("account", "version")
    writer.upsert("desk.equity", _one_each(chosen, "closed_at_utc"))


def _store_fills(writer: Writer, rows: pl.DataFrame) -> None:
    """Sum up what was filled of a symbol at one moment; earlier pieces may have a part of it."""
    key = (*_MODEL, "filled_at_utc", "symbol")
    stored = writer.query(
        "from desk.order_fills where filled_at_utc between $first and $last",
        first=rows["filled_at_utc"].min(),
        last=rows["filled_at_utc"].max(),
    )
    together = _of_models(_ranked(writer), stored, "filled_at_utc").join(rows, on=key, how="semi")
    size = pl.col("units").abs()
    sums = together.group_by(key, maintain_order=True).agg(
        pl.col("units").sum(),
        ((pl.col("price_usd") * size).sum() / size.sum()).alias("price_usd"),
        pl.col("fee_usd", "slippage_usd", "realized_pnl_usd").sum(),
    )
    writer.upsert("desk.fills", sums.filter(pl.col("units") != 0))


def _store_votes(writer: Writer, rows: pl.DataFrame) -> None:
    decisions = writer.query(
        """
        select decision, account, study, trial, closed_at_utc from desk.decisions
        where kind = 'bar' and list_contains($decisions, decision)
        """,
        decisions=rows["decision"].unique().to_list(),
    )
    cast = _of_models(_ranked(writer), rows.join(decisions, on="decision"), "closed_at_utc")
    votes = cast.drop("account", "decision", "version")
    writer.upsert("desk.votes", _one_each(votes, "closed_at_utc", "symbol", "member_study", "member_trial"))


def _ranked(reader: Reader) -> pl.DataFrame:
    """Return the trader's accounts with their `rank`: of two accounts of a model the higher one counts."""
    accounts = reader.query("from desk.trader_accounts").filter(pl.col("stage").is_in(STAGES))
    is_live, is_virtual = pl.col("stage") == "live", pl.col("broker") == "simulated"
    return accounts.sort(is_live, is_virtual, "opened_at_utc", "account").with_row_index("rank")


def _of_models(ranked: pl.DataFrame, rows: pl.DataFrame, moment: str) -> pl.DataFrame:
    """Return those of `rows` whose account counts for its model at the row's `moment`."""
    numbered = rows.with_row_index("row").join(ranked.select("account", own="rank"), on="account", how="left")
    rivals = ranked.select(*_MODEL, "rank", since="opened_at_utc", until="closed_at_utc")
    beaten = numbered.join(rivals, on=_MODEL).filter(
        pl.col("rank") > pl.col("own").fill_null(-1),
        pl.col("since") < pl.col(moment),
        pl.col("until").is_null() | (pl.col(moment) <= pl.col("until")),
    )
    return numbered.join(beaten, on="row", how="anti").drop("row", "own")


def _one_each(rows: pl.DataFrame, *key: str) -> pl.DataFrame:
    return rows.unique((*_MODEL, *key), keep="last", maintain_order=True)
