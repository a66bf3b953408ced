from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cappuccino.errors import StageError
from cappuccino.registry import moves
from cappuccino.registry.green_light import PaperFigures, go_live, green_light
from cappuccino.registry.identity import ModelId
from cappuccino.registry.stages import StageBook
from cappuccino.settings import LiveSettings

NOW = datetime(2025, 6, 1, tzinfo=UTC)
GOOD = PaperFigures(
    days=2.0,
    alpha_frac=0.001,
    sharpe_annualized=0.11,
    max_drawdown_frac=0.149,
    n_critical_errors=0,
    is_simulated=False,
)
ON, OFF = LiveSettings(enabled=True), LiveSettings()
NAN = float("nan")


def in_production() -> StageBook:
    book, model = StageBook(), ModelId("s", 1)
    book = book.apply(*moves.enter(book, model, NOW, "candidate"))
    for _ in range(2):
        book = book.apply(*moves.promote(book, model, NOW, "won"))
    return book


def test_figures_that_pass_every_gate_are_green() -> None:
    assert green_light(GOOD, ON) == []


@pytest.mark.parametrize(
    ("gate", "change"),
    [
        ("days", {"days": 1.99}),
        ("days", {"days": NAN}),
        ("alpha", {"alpha_frac": 0.0}),
        ("alpha", {"alpha_frac": NAN}),
        ("sharpe", {"sharpe_annualized": 0.1}),
        ("sharpe", {"sharpe_annualized": NAN}),
        ("drawdown", {"max_drawdown_frac": 0.15}),
        ("drawdown", {"max_drawdown_frac": NAN}),
        ("drawdown", {"max_drawdown_frac": -0.2}),  # a fall written as a negative number must not pass
        ("errors", {"n_critical_errors": 1}),
        ("market", {"is_simulated": True}),
    ],
)
def test_each_gate_fails_alone_on_its_own_figure(gate: str, change: dict[str, float]) -> None:
    failed = green_light(replace(GOOD, **change), ON)
    assert [text.partition(":")[0] for text in failed] == [gate]


def test_a_failed_gate_says_both_numbers() -> None:
    assert green_light(replace(GOOD, max_drawdown_frac=0.2), ON) == ["drawdown: 20.00% is not below 15.00%"]


def test_going_live_needs_the_green_light_and_the_switch() -> None:
    book = in_production()
    with pytest.raises(StageError, match=r"s/1 cannot go live; switch: live\.enabled is false$"):
        go_live(book, GOOD, OFF, NOW, "trust")
    with pytest.raises(StageError, match=r"cannot go live; alpha: .*; errors: 2 critical$"):
        go_live(book, replace(GOOD, alpha_frac=-1.0, n_critical_errors=2), ON, NOW, "trust")
    live = book.apply(*go_live(book, GOOD, ON, NOW, "trust"))
    assert (live.live, live.production) == (ModelId("s", 1), None)
    assert live.decisions[-1].figures["sharpe_annualized"] == 0.11
    assert live.decisions[-1].decided_by == "operator"


def test_an_empty_production_cannot_go_live() -> None:
    with pytest.raises(StageError, match="no model is in production"):
        go_live(StageBook(), GOOD, ON, NOW, "trust")
