"""The pictures of a study's analysis: each drawn from a few rows, in both schemes, and honest about no rows."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from cappuccino.watch.plots import DARK, LIGHT, Theme, png
from cappuccino.watch.plots import study as plots

ROWS = {
    plots.convergence: pl.DataFrame(
        {
            "study": ["s"] * 3,
            "trial": [0, 2, 5],
            "score": [0.5, 1.5, 1.0],
            "best_so_far": [0.5, 1.5, 1.5],
            "is_record": [True, True, False],
            "n_since_record": [0, 0, 1],
        }
    ),
    plots.importances: pl.DataFrame(
        {"parameter": ["width", "depth"], "importance_frac": [0.7, 0.3], "n_trials": [12, 12]}
    ),
    plots.seeds: pl.DataFrame({"trial": [3, 4], "score": [1.0, -0.5], "other": [[0.1, 0.4], [0.2]]}),
    plots.ablation: pl.DataFrame(
        {
            "trial": [3, 3, 3],
            "part": ["time_decay", "cash_reserve", "turnover_penalty"],
            "change": [-1.0, 0.5, None],
            "change_in_seeds": [-4.0, 2.0, None],
        }
    ),
    plots.worst: pl.DataFrame(
        {"parameter": ["width", "learner=ppo"], "distance_std": [-2.5, 0.5], "n_worst": [2, 2], "n_rest": [18, 18]}
    ),
}
Draw = Callable[..., Figure]


def words(figure: Figure) -> str:
    return " | ".join(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))


@pytest.mark.parametrize("draw", ROWS, ids=lambda draw: draw.__name__)
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_a_picture_is_drawn_in_both_schemes_and_names_the_market(draw: Draw, theme: Theme) -> None:
    figure = draw(ROWS[draw], simulated=True, theme=theme)
    assert png(figure, dpi=40).startswith(b"\x89PNG")
    assert "simulated market" in words(figure)


@pytest.mark.parametrize("draw", ROWS, ids=lambda draw: draw.__name__)
def test_without_rows_a_picture_says_so(draw: Draw) -> None:
    said = words(draw(ROWS[draw].clear(), simulated=False))
    assert "no trial" in said or "too few" in said


def test_the_record_and_what_came_after_it_are_told() -> None:
    assert "2 records, 1 completed trials since the last" in words(
        plots.convergence(ROWS[plots.convergence], simulated=False)
    )


def test_a_part_whose_training_failed_is_left_out() -> None:
    said = words(plots.ablation(ROWS[plots.ablation], simulated=False))
    assert "time decay" in said and "turnover penalty" not in said
    assert "-1.00" in said and "two deviations over seeds" in said
