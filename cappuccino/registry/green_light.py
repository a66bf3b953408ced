"""The gate before real money: every figure has to pass, and the operator's switch has to be on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from cappuccino.errors import StageError
from cappuccino.registry.moves import promote_to_live
from cappuccino.registry.stages import Decision, StageBook
from cappuccino.settings import LiveSettings


@dataclass(frozen=True)
class PaperFigures:
    """What the model in production did on paper, over the newest `days` days."""

    days: float
    alpha_frac: float
    sharpe_annualized: float
    max_drawdown_frac: float
    """Depth of the deepest fall, positive."""
    n_critical_errors: int
    is_simulated: bool
    """True when the model was trained, or these figures were made, on invented bars."""


def green_light(figures: PaperFigures, settings: LiveSettings) -> list[str]:
    """Return the gates that fail, each as a sentence with its numbers; empty when the light is green.

    A figure that is NaN fails its gate. The operator's switch is no gate here: see `go_live`.
    """
    f = figures
    gates = [
        (f.days >= settings.window_days, f"days: {f.days:g}, at least {settings.window_days:g} are needed"),
        (
            f.alpha_frac > settings.min_alpha,
            f"alpha: {f.alpha_frac:.4%} is not above {settings.min_alpha:.4%}",
        ),
        (
            f.sharpe_annualized > settings.min_sharpe,
            f"sharpe: {f.sharpe_annualized:.3f} is not above {settings.min_sharpe:.3f}",
        ),
        (
            0 <= f.max_drawdown_frac < settings.max_drawdown_frac,
            f"drawdown: {f.max_drawdown_frac:.2%} is not below {settings.max_drawdown_frac:.2%}",
        ),
        (f.n_critical_errors == 0, f"errors: {f.n_critical_errors} critical"),
        (not f.is_simulated, "market: simulated bars earn no real money"),
    ]
    return [failed for passed, failed in gates if not passed]


def go_live(
    book: StageBook, figures: PaperFigures, settings: LiveSettings, now: datetime, reason: str
) -> tuple[Decision, ...]:
    """The operator puts the model in production live.

    Raises StageError naming every gate that fails, the operator's switch among them.
    """
    failed = green_light(figures, settings)
    if not settings.enabled:
        failed.insert(0, "switch: live.enabled is false")
    if failed:
        raise StageError(f"{book.production or 'nobody'} cannot go live; " + "; ".join(failed))
    return promote_to_live(book, now, reason, {name: float(value) for name, value in asdict(figures).items()})
