"""What an audit found, and the word that lets a model on or stops it."""

from __future__ import annotations

from dataclasses import dataclass

from cappuccino.errors import StageError
from cappuccino.registry.identity import ModelId


@dataclass(frozen=True)
class AuditCheck:
    """One question that was put to a model."""

    name: str
    passed: bool | None
    """None when there was nothing to ask; the detail says why."""
    figure: float
    """What was counted or measured: values that moved, fills that were wrong, largest difference; 0 is well."""
    detail: str


@dataclass(frozen=True)
class AuditReport:
    """All answers of one model."""

    model: ModelId
    checks: tuple[AuditCheck, ...]

    @property
    def failed(self) -> tuple[AuditCheck, ...]:
        """The checks that did not pass; those that were skipped are not among them."""
        return tuple(check for check in self.checks if check.passed is False)

    @property
    def passed(self) -> bool:
        """Whether something was asked and nothing failed."""
        return not self.failed and any(check.passed for check in self.checks)

    @property
    def said(self) -> str:
        """What failed, in words."""
        return "; ".join(f"{check.name}: {check.detail}" for check in self.failed) or "no check could be made"


def require_audit(report: AuditReport) -> None:
    """Raise StageError naming every failed check: such a model's figures cannot be believed, so it goes nowhere."""
    if not report.passed:
        raise StageError(
            f"{report.model} failed its audit ({report.said}); it stays where it is. Look at "
            f"`cappuccino audit {report.model}`, and retire the model"
        )
