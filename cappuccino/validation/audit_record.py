"""An audit against the warehouse: the bars and folds that a model came from, and the answers kept for ever.

No bar of the holdout is read: an audit asks how a model decides, not how well.
"""

from __future__ import annotations

import json
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
from cappuccino.validation.seal import Seal, open_until

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
        panel = candidate.market.panel(reader, open_until(reader, settings, now))
        training = read_training(reader, candidate)
        members = [(member.manifest, read_training(reader, member)) for member in candidate.members]
    report = audit(
        candidate,
        panel,
        Rules.of(settings.risk, settings.costs),
        training,
        lambda: load_candidate(settings.artifacts, model).manifest.weight_sha256,
        members=members,
    )
    with warehouse.write() as writer:
        store(writer, report, now)
    return report


def read_training(reader: Reader, candidate: Candidate) -> Training:
    """Return what the warehouse knows of a candidate's training."""
    manifest = candidate.manifest
    kept = reader.one(
        """
        select lab.studies.settings, as_of_utc, train_end_utc, is_out_of_date, lab.trials.weight_sha256
        from lab.studies
        left join ops.data_seen on ops.data_seen.name = lab.studies.study
        left join lab.trials on lab.trials.study = lab.studies.study and lab.trials.trial = $trial
        where lab.studies.study = $study
        """,
        study=manifest.study,
        trial=manifest.trial,
    )
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
    edges = tuple(_fold_edges(rows))
    if kept is None:
        return Training(edges)
    stored, as_of, train_end, is_out_of_date, weight_sha256 = kept
    return Training(edges, _kept_from(stored, as_of, train_end), bool(is_out_of_date), weight_sha256)


def _kept_from(stored: str, as_of: datetime, train_end: datetime) -> datetime:
    """Return where the bars begin that the study was to keep from training, by its own settings at its own moment."""
    fields = json.loads(stored)
    return Seal.at(Settings.stored(fields), as_of).training_until if fields else train_end


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
