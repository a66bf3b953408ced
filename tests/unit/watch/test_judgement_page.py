"""The section for a sceptic, and the picture in it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.watch import plots
from cappuccino.watch.report import read_frames
from cappuccino.watch.report.frames import Frames
from cappuccino.watch.report.judgement import believed, best_beside_baselines, tiles
from cappuccino.watch.report.lab import leaderboard
from cappuccino.watch.report.page import Grid

AGENT, BASELINE = False, True


@pytest.fixture
def frames(busy_warehouse: Warehouse, settings: Settings) -> Frames:
    return read_frames(busy_warehouse, settings)


def texts(table: Grid, column: int) -> list[str]:
    return [row[column].text for row in (*table.rows, *table.folded)]


def ranked(*rows: tuple[str, str, int | None, str, bool, float | None, float | None]) -> pl.DataFrame:
    names = ["study", "family", "rank", "subject", "is_baseline", "sharpe_annualized", "holdout_sharpe_annualized"]
    others = ("holdout_alpha_frac", "p_random_timing", "p_entry_permutation", "beta", "alpha_t", "gate_passed")
    frame = pl.DataFrame(rows, names, orient="row", infer_schema_length=None)
    return frame.with_columns(pl.lit(None).alias(name) for name in others)


def test_verdicts_are_said_in_words_and_once_where_both_benchmarks_agree(frames: Frames) -> None:
    said = believed(frames, simulated=False).sentences
    assert said[0].startswith("The holdout, 2025-06-15 00:00 to 2025-06-25 00:00 UTC (10.0 days), was opened once")
    assert said[1:] == (
        "training-20250625, above cash: weak. Deflated Sharpe above cash. PBO.",
        "training-20250625, above buy-and-hold: nothing here. Deflated Sharpe above buy_and_hold. PBO.",
        "ensemble-20250625, above cash and buy-and-hold: nothing here. 18 days are too few to tell.",
        "The arena's gate let in 20 of 24 candidates: it asks for a Sharpe ratio of 0.7 and a profit factor of 1.1.",
    )


def test_a_verdict_on_a_simulated_market_is_called_worthless(frames: Frames) -> None:
    assert "says nothing about a real one" in believed(frames, simulated=True).sentences[1]


def test_a_track_record_is_told_in_years_where_it_is_long(frames: Frames) -> None:
    assert texts(believed(frames, simulated=False).grids[0], -1) == ["80 days", "43.6 years", "never", "never"]


def test_the_harder_verdict_stands_at_the_top(frames: Frames) -> None:
    assert [tile.value for tile in tiles(frames)] == ["nothing here"]
    assert list(tiles({**frames, "verdicts": frames["verdicts"].clear()})) == []


def test_models_are_shown_by_their_rank_on_the_folds_in_the_order_of_the_holdout() -> None:
    ranks = ranked(
        ("a", "ppo", 1, "a/1", AGENT, 3.0, -1.0),
        ("a", "baseline", 2, "cash", BASELINE, 0.0, 0.0),
        ("a", "ppo", 3, "a/2", AGENT, -1.0, 2.0),
        ("a", "ppo", 4, "a/3", AGENT, -2.0, 9.0),
        ("b", "trees", 1, "b/0", AGENT, -3.0, None),
        ("b", "baseline", None, "cash", BASELINE, None, 0.0),
    )
    best = best_beside_baselines(ranks, n_each=2)
    assert best["subject"].to_list() == ["a/2", "cash", "a/1", "b/0"]
    assert best["rank"].to_list() == [3, 2, 1, 1]


def test_agents_that_were_only_there_stand_beside_the_baselines_with_their_p_values(frames: Frames) -> None:
    table = believed(frames, simulated=False).grids[1]
    baselines = {texts(table, 0)[i] for i in table.marked}
    assert baselines >= {"buy_and_hold", "momentum", "cash"}
    timing = dict(zip(texts(table, 0), texts(table, 6), strict=True))
    assert timing["training-20250625/15"] == "0.500"
    assert timing["cash"] == "–"


def test_an_ensemble_stands_beside_its_first_and_its_best_member(frames: Frames) -> None:
    table = believed(frames, simulated=False).grids[2]
    assert [cell.text for cell in table.rows[0]] == [
        *("median", "yes", "1.10", "training-20250625/3", "0.50", "1.40", "0.95", "50.00\N{NO-BREAK SPACE}%", "0.30"),
    ]


def test_a_missing_number_stands_where_numbers_do(frames: Frames) -> None:
    table = believed(frames, simulated=False).grids[0]
    column = [head.text for head in table.headings].index("pbo")
    assert [(row[column].text, row[column].kind) for row in table.rows][1:3] == [("0.25", "number"), ("–", "number")]


def test_every_model_is_a_dot_and_the_chosen_one_has_a_ring() -> None:
    ranks = ranked(
        ("a", "ppo", 1, "a/1", AGENT, 3.0, -1.0),
        ("a", "baseline", 2, "cash", BASELINE, 0.0, 0.0),
        ("a", "apg", 3, "a/2", AGENT, -1.0, 2.0),
        ("a", "apg", 4, "a/3", AGENT, -2.0, None),
        ("b", "trees", 1, "b/0", AGENT, 1.0, 0.5),
        ("b", "baseline", None, "cash", BASELINE, None, 0.0),
        ("c", "baseline", 1, "momentum", BASELINE, 0.5, 0.25),
        ("c", "ensemble", 2, "c/0", AGENT, -9.0, 0.5),
    )
    panel = plots.decay(ranks, simulated=False).axes[0]
    dots = {str(each.get_label()): np.array(each.get_offsets()).tolist() for each in panel.collections}
    assert dots == {
        "ppo": [[3.0, -1.0]],
        "apg": [[-1.0, 2.0]],
        "trees": [[1.0, 0.5]],
        "best on the folds": [[3.0, -1.0], [1.0, 0.5]],
        "cash": [[0.0, 0.0]],
    }
    kept = next(line for line in panel.lines if line.get_label() == "nothing lost")
    assert np.array_equal(kept.get_xydata(), np.column_stack([panel.get_xlim(), panel.get_ylim()]))


def test_the_leaderboard_tells_who_beats_every_baseline_on_the_folds_and_who_still_does_in_the_holdout() -> None:
    ranks = ranked(
        ("a", "ppo", 1, "a/1", AGENT, 3.0, -1.0),
        ("a", "ppo", 2, "a/2", AGENT, 1.0, 0.5),
        ("a", "baseline", 3, "cash", BASELINE, 0.0, 0.0),
    )
    others = ("stage", "total_return_frac", "alpha_frac", "max_drawdown_frac", "exposure_frac", "trades_per_month")
    full = ranks.with_columns(pl.lit(None).alias(name) for name in (*others, "collapsed"))
    assert leaderboard({"leaderboard": full}, simulated=False).sentences[1:] == (
        "2 of them did better than every baseline.",
        "1 of them did better than every baseline in the holdout.",
    )
    unopened = full.with_columns(pl.lit(None, pl.Float64).alias("holdout_sharpe_annualized"))
    assert len(leaderboard({"leaderboard": unopened}, simulated=False).sentences) == 2
