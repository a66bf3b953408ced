from __future__ import annotations

import base64
import io
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from cappuccino.store.warehouse import Warehouse
from cappuccino.watch import plots
from cappuccino.watch.plots.market import covered

START = datetime(2025, 1, 1, tzinfo=UTC)
PLOTS: Mapping[str, tuple[Callable[..., Figure], str]] = {
    "closes": (plots.closes, "select * from market.bars_all where interval = '1h'"),
    "coverage": (plots.coverage, "select * from market.days"),
    "timeframes": (plots.timeframes, "select * from lab.timeframes"),
    "progress": (plots.progress, "select * from lab.trials where study like 'training%'"),
    "leaderboard": (plots.leaderboard, "select * from lab.leaderboard"),
    "decay": (plots.decay, "select * from lab.leaderboard"),
    "learning": (plots.learning, "select * from lab.learning_curves"),
    "ladder": (partial(plots.ladder, streak=5), "select * from arena.ladder"),
    "equity": (plots.equity, "select * from desk.equity"),
    "drawdown": (plots.drawdown, "select * from desk.equity join desk.accounts using (study, trial)"),
    "exposure": (plots.exposure, "select * from desk.equity"),
}


def words(figure: Figure) -> str:
    texts = [artist for artist in figure.findobj(Text) if isinstance(artist, Text)]
    return "\n".join(text.get_text() for text in texts)


def equity_bars(**columns: Any) -> pl.DataFrame:
    n_bars = len(next(iter(columns.values())))
    closed = [START + timedelta(hours=t + 1) for t in range(n_bars)]
    return pl.DataFrame({"study": "s", "trial": 1, "closed_at_utc": closed, **columns})


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_names_a_simulated_market_and_only_that(name: str, busy_warehouse: Warehouse) -> None:
    draw, sql = PLOTS[name]
    frame = busy_warehouse.query(sql)
    assert frame.height > 0
    assert "simulated market" in words(draw(frame, simulated=True))
    assert "simulated market" not in words(draw(frame, simulated=False))


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_of_an_empty_table_says_that_there_is_nothing_yet(name: str, first_day: Warehouse) -> None:
    draw, sql = PLOTS[name]
    figure = draw(first_day.query(sql), simulated=False)
    assert "yet" in words(figure)
    assert plots.png(figure)


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_fits_into_the_metadata_of_an_asset(name: str, busy_warehouse: Warehouse) -> None:
    draw, sql = PLOTS[name]
    text = plots.markdown(draw(busy_warehouse.query(sql), simulated=True), name)
    assert len(text) <= 60_000
    head, _, encoded = text.removesuffix(")").partition(";base64,")
    assert head == f"![{name}](data:image/png"
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).format == "PNG"


def test_a_picture_that_cannot_be_made_small_enough_is_refused() -> None:
    figure = plots.closes(pl.DataFrame(), simulated=False)
    with pytest.raises(ValueError, match=r"'tiny' has .* bytes, more than 100"):
        plots.markdown(figure, "tiny", limit_bytes=100)


def test_equal_figures_give_equal_bytes(busy_warehouse: Warehouse) -> None:
    frame = busy_warehouse.query("select * from lab.leaderboard")
    assert plots.png(plots.leaderboard(frame, simulated=True)) == plots.png(plots.leaderboard(frame, simulated=True))


def test_a_dark_plot_is_drawn_on_dark_paper() -> None:
    image = Image.open(io.BytesIO(plots.png(plots.closes(pl.DataFrame(), simulated=False, theme=plots.DARK))))
    assert to_hex(np.array(image.convert("RGB"))[0, 0] / 255) == plots.DARK.paper


def test_drawing_leaves_matplotlib_s_global_state_alone() -> None:
    code = "import sys, cappuccino.watch.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_closes_start_at_one_and_filled_bars_are_crossed() -> None:
    times = [START + timedelta(hours=t) for t in range(3)]
    bars = pl.DataFrame(
        {
            "symbol": ["A/USD"] * 3 + ["B/USD"] * 3,
            "closed_at_utc": times * 2,
            "close": [50.0, 100.0, 100.0, 4.0, 2.0, 1.0],
            "is_filled": [False, False, True, False, False, False],
        }
    )
    panel = plots.closes(bars, simulated=False).axes[0]
    assert [list(line.get_ydata()) for line in panel.lines] == [[1.0, 2.0, 2.0], [1.0, 0.5, 0.25]]
    crosses = [collection.get_offsets() for collection in panel.collections]
    assert [len(np.asarray(places)) for places in crosses] == [1, 0]
    assert np.asarray(crosses[0])[0, 1] == 2.0


def days(symbol: str, *absent: tuple[int, int], first: int = 0) -> pl.DataFrame:
    """Return market.days of one symbol: absent and halted of the 96 bars of each day."""
    rows = [
        (symbol, (START + timedelta(days=first + n)).date(), 96, lost, halted)
        for n, (lost, halted) in enumerate(absent)
    ]
    return pl.DataFrame(rows, ("symbol", "day", "expected_bars", "absent_bars", "halted_bars"), orient="row")


def test_coverage_tells_halts_from_holes_and_holes_by_their_size() -> None:
    one = days("A/USD", (0, 0), (5, 5), (6, 5), (10, 0), (48, 0), (49, 0), (96, 0))
    other = days("B/USD", (0, 0), (5, 5), first=2)
    cells, length = covered(pl.concat([other, one]))
    assert length == 1
    assert cells.rows() == [("A/USD", 1, 2, 3, 4, 4, 5, 5), ("B/USD", 0, 0, 1, 2, 0, 0, 0)]
    said = words(plots.coverage(pl.concat([one, other]), simulated=False))
    assert "5 of 9 symbol-days have holes · days with a halt of the exchange: 3" in said
    assert "worst of" not in said


def test_a_long_halt_does_not_darken_the_little_that_a_source_lost() -> None:
    cells, _ = covered(days("A/USD", (49, 48), (96, 48), (96, 47)))
    assert cells.rows() == [("A/USD", 3, 4, 5)]


def test_a_cell_of_several_days_shows_the_worst_so_that_no_hole_is_lost() -> None:
    n_days = 1200
    absent = [(1, 0) if n == 601 else (2, 2) if n == 600 else (0, 0) for n in range(n_days)]
    cells, length = covered(days("A/USD", *absent))
    assert length == 3
    assert cells.width == 1 + 400
    codes = cells.drop("symbol").row(0)
    assert codes[200] == 3
    assert set(codes[:200] + codes[201:]) == {1}
    assert "each cell shows the worst of 3 days" in words(plots.coverage(days("A/USD", *absent), simulated=False))


def test_a_hundred_symbols_over_five_years_fit_on_a_page_and_into_metadata() -> None:
    rng, shape = np.random.default_rng(1), (100, 1826)
    lost = np.where(rng.random(shape) < 0.003, rng.integers(1, 97, shape), 0).ravel()
    at = np.indices(shape).reshape(2, -1)
    frame = pl.DataFrame({"symbol": at[0], "day": at[1], "absent_bars": lost}).select(
        pl.format("S{}/USDT", pl.col("symbol").cast(pl.String).str.zfill(3)).alias("symbol"),
        "absent_bars",
        expected_bars=96,
        day=START.date() + pl.duration(days="day"),
        halted_bars=0,
    )
    figure = plots.coverage(frame, simulated=True)
    assert figure.get_figheight() < 16
    assert len(figure.axes[0].get_yticklabels()) == 100
    assert len(plots.markdown(figure, "coverage")) <= 60_000


def test_learning_curves_have_a_band_a_median_and_the_best_trial() -> None:
    rows = [
        ("s", "entropy", 1, 3, 1.0, 2.0, 3.0, 7, 2.5),
        ("s", "entropy", 2, 2, 1.0, 1.5, 2.0, 7, None),
        ("s", "explained_variance", 1, 3, -90.0, -9.0, 0.5, 7, 0.1),
    ]
    names = ("study", "figure", "update", "n_trials", "low", "median", "high", "best_trial", "best")
    curves = pl.DataFrame(rows, names, orient="row")
    figure = plots.learning(curves, simulated=False)
    panels = {panel.get_title(loc="left"): panel for panel in figure.axes}
    median, best = panels["entropy, nats"].lines
    np.testing.assert_array_equal(median.get_ydata(), [2.0, 1.5])
    np.testing.assert_array_equal(best.get_ydata(), [2.5, np.nan])
    assert len(panels) == 16 and len(panels["entropy, nats"].collections) == 1
    assert panels["explained variance"].get_ylim()[0] == -1.0
    assert "best trial (7)" in words(figure) and "3 trials" in words(figure)
    nobody = curves.with_columns(best_trial=pl.lit(None, pl.Int64), best=pl.lit(None, pl.Float64))
    assert "best trial" not in words(plots.learning(nobody, simulated=False))


def test_the_winning_pair_is_framed_and_a_failed_one_says_so() -> None:
    pairs = pl.DataFrame(
        {
            "interval": ["1h", "1h", "4h"],
            "lookback": [12, 24, 12],
            "n_complete": [2, 2, 0],
            "mean_score": [0.5, 1.5, None],
            "is_winner": [False, True, False],
        }
    )
    figure = plots.timeframes(pairs, simulated=False)
    panel = figure.axes[0]
    frames = [patch for patch in panel.patches if isinstance(patch, Rectangle)]
    assert [(round(f.get_x() + 0.48), round(f.get_y() + 0.46)) for f in frames] == [(1, 0)]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["1h", "4h"]
    assert "failed" in words(figure)


def test_the_best_score_so_far_never_falls() -> None:
    trials = pl.DataFrame(
        {
            "study": "s",
            "trial": [3, 0, 1, 2, 4],
            "state": ["complete", "complete", "failed", "complete", "pruned"],
            "score": [0.9, 0.5, None, 0.2, None],
        }
    )
    panel = plots.progress(trials, simulated=False).axes[0]
    lines = {str(line.get_label()): line for line in panel.lines}
    assert list(lines["best so far"].get_xdata()) == [0, 2, 3]
    assert list(lines["best so far"].get_ydata()) == [0.5, 0.5, 0.9]
    assert list(lines["failed"].get_xdata()) == [1]
    assert list(lines["pruned"].get_xdata()) == [4]


def test_the_leaderboard_drops_weak_agents_but_no_baseline_and_colours_them_apart() -> None:
    ranks = pl.DataFrame(
        {
            "rank": [1, 2, 3, 4],
            "subject": ["s/1", "s/2", "buy_and_hold", "cash"],
            "is_baseline": [False, False, True, True],
            "sharpe_annualized": [2.0, 1.0, 0.5, 0.0],
        }
    )
    figure = plots.leaderboard(ranks, simulated=False, n_agents=1)
    panel = figure.axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["s/1", "buy_and_hold", "cash"]
    colors = [to_hex(patch.get_facecolor()) for patch in panel.patches]
    assert colors == [plots.LIGHT.agent, plots.LIGHT.baseline, plots.LIGHT.baseline]
    assert "1 lower agents left out" in words(figure)


def test_the_ladder_shows_who_won_and_where_promotion_is() -> None:
    entrants = pl.DataFrame(
        {
            "model": ["s/1", "s/2", "s/3"],
            "position": [1, 2, 3],
            "state": ["eliminated", "champion", "waiting"],
            "wins": [1, 3, 0],
        }
    )
    panel = plots.ladder(entrants, 20, simulated=False).axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["s/2", "s/1"]
    promotion = next(line for line in panel.lines if line.get_label() == "promotion")
    assert list(promotion.get_xdata()) == [20, 20]
    assert panel.get_xlim()[1] > 20


def test_an_account_is_drawn_beside_buy_and_hold_on_the_tint_of_its_stage() -> None:
    bars = equity_bars(
        value_usd=[100.0, 110.0, 120.0, 130.0],
        benchmark_usd=[100.0, 90.0, 80.0, 70.0],
        stage=["sandbox", "sandbox", "production", "production"],
    )
    figure = plots.equity(bars, simulated=False)
    panel = figure.axes[0]
    assert [list(line.get_ydata()) for line in panel.lines] == [[100, 90, 80, 70], [100, 110, 120, 130]]
    assert [to_hex(span.get_facecolor()) for span in panel.patches] == [tint for _, tint in plots.LIGHT.stages[:2]]
    assert "in sandbox" in words(figure) and "in production" in words(figure)


def test_the_account_in_production_comes_before_those_in_the_sandbox() -> None:
    one = equity_bars(value_usd=[1.0] * 3, benchmark_usd=[1.0] * 3, stage=["sandbox"] * 3)
    other = one.with_columns(trial=pl.lit(2, pl.Int32).cast(one.schema["trial"]), stage=pl.lit("production"))
    figure = plots.equity(pl.concat([one, other]), simulated=False)
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["s/2", "s/1"]


def test_drawdown_counts_from_the_highest_value_and_the_opening_cash_is_the_first() -> None:
    bars = equity_bars(value_usd=[90.0, 120.0, 60.0, 150.0], cash_usd=[100.0] * 4)
    line = plots.drawdown(bars, simulated=False).axes[0].lines[0]
    assert np.allclose(np.asarray(line.get_ydata(), dtype=float), [-0.1, 0.0, -0.5, 0.0])


def test_exposure_is_drawn_as_it_was() -> None:
    line = plots.exposure(equity_bars(exposure_frac=[0.0, 0.6, 0.3]), simulated=False).axes[0].lines[0]
    assert list(line.get_ydata()) == [0.0, 0.6, 0.3]
