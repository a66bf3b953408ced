"""An audit against the warehouse: the bars and folds that a model came from, and the answers kept for ever.

No bar of the holdout is read: an audit asks how a model decides, not how well.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

from cappuccino.registry.identity import ModelId
from cappuccino.registry.version import code_version
from cappuccino.risk.rules import Rules
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader, Warehouse, Writer
from cappuccino.validation.audit import audit
from cappuccino.validation.audit_report import AuditReport
from cappuccino.validation.audit_training import FoldEdges, Range, Training
from cappuccino.validation.seal import Seal

if TYPE_CHECKING:
    from cappuccino.arena.candidate import Candidate

TABLE = "lab.audits"


def audit_model(warehouse: Warehouse, settings: Settings, model: ModelId, now: datetime) -> AuditReport:
    """Return the audit of `model` on the bars known at `now`, the holdout's left out, and store it.

    Raises ArtifactError when its files are damaged, DataError when there are too few bars.
    """
    from cappuccino.arena.candidate import load_candidate

    candidate = load_candidate(settings.artifacts, model)
    with warehouse.read() as reader:
        panel = candidate.market.panel(reader, Seal.at(settings, now).arena_until)
        training = read_training(reader, candidate)
    report = audit(
        candidate,
        panel,
        Rules.of(settings.risk, settings.costs),
        training,
        lambda: load_candidate(settings.artifacts, model).manifest.weight_sha256,
    )
    with warehouse.write() as writer:
        store(writer, report, now)
    return report


def read_training(reader: Reader, candidate: Candidate) -> Training:
    """Return what the warehouse knows of a candidate's training."""
    manifest = candidate.manifest
    ends = reader.one("select train_end_utc from lab.studies where study = $study", study=manifest.study)
    rows = reader.query(
        """
        select fold, part, from_utc, to_utc, purge_bars, after_bars from lab.folds
        where study = $study and interval = $interval and lookback = $lookback
        order by fold, part, segment
        """,
        study=manifest.study,
        interval=manifest.interval.value,
        lookback=manifest.lookback,
    )
    return Training(tuple(_fold_edges(rows)), ends[0] if ends else None)


def store(writer: Writer, report: AuditReport, now: datetime) -> None:
    """Append the answers of `report` to lab.audits, under the model's next number of an audit."""
    model = report.model
    done = writer.one(
        "select max(audit) from lab.audits where study = $study and trial = $trial",
        study=model.study,
        trial=model.trial,
    )
    number = 1 + (done[0] or 0 if done else 0)
    rows = [
        {
            "study": model.study,
            "trial": model.trial,
            "audit": number,
            "audited_at_utc": now,
            "position": position,
            "name": check.name,
            "passed": check.passed,
            "figure": check.figure,
            "detail": check.detail,
            "code_version": code_version(),
        }
        for position, check in enumerate(report.checks)
    ]
    frame = pl.DataFrame(rows, schema_overrides={"passed": pl.Boolean(), "audited_at_utc": pl.Datetime("us", "UTC")})
    writer.append(TABLE, frame)


def _fold_edges(rows: pl.DataFrame) -> Iterable[FoldEdges]:
    for (fold, purge, after), own in rows.group_by("fold", "purge_bars", "after_bars", maintain_order=True):
        yield FoldEdges(str(fold), _ranges(own, "train"), _ranges(own, "validation"), int(purge), int(after))


def _ranges(rows: pl.DataFrame, part: str) -> tuple[Range, ...]:
    return tuple(rows.filter(pl.col("part") == part).select("from_utc", "to_utc").iter_rows())
