"""`cappuccino thresholds`: what it prints, stores and refuses, and its page."""

from __future__ import annotations

import json

import polars as pl
import pytest
from matplotlib.text import Text

from cappuccino.errors import UnknownName
from cappuccino.store.warehouse import Warehouse
from cappuccino.watch import plots
from cappuccino.watch.plots.thresholds import heat, level
from cappuccino.watch.thresholds import maps, read_thresholds


@pytest.fixture
def call(with_one_model):
    """Call the command on a warehouse with one model."""
    return with_one_model("thresholds", holdout_days=5)


def words(figure):
    return "\n".join(artist.get_text() for artist in figure.findobj(Text))


def test_a_model_has_its_best_and_todays_thresholds_the_verdict_and_a_page(call, tmp_path):
    done = call("training-1/3", "--by-symbol")
    assert done.exit_code == 0, done.stderr
    for part in ("today's", "best", "trailing stop", "(simulated market)", "ETH/USD", "The best of 58 is", "95 % int"):
        assert part in done.stdout, part
    assert "training-1/3: 58 points" in done.stderr
    assert "points 1 to 58: bar 0 of" in done.stderr
    (file,) = (tmp_path / "thresholds").glob("training-1-3-*.html")
    page = file.read_text()
    assert "Simulated market." in page
    assert page.count("<figure>") == 3  # both units, and symbols
    assert "Symbol by symbol" in page
    assert str(file) in done.stdout


def test_the_json_has_every_point_and_stdout_nothing_else(call, full_warehouse):
    done = call("equal_weight", "--stop-loss", "off,0.02", "--trailing-stop", "0.01", "--json", "--no-page")
    assert done.exit_code == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["page"] is None
    assert shown["by_symbol"] == []
    assert [point["stop_loss_frac"] for point in shown["points"]] == [0.1, 0.0, 0.02]
    assert [point["portfolio_trailing_stop_frac"] for point in shown["points"]] == [0.015, 0.01, 0.01]
    assert shown["to_utc"] == "2025-04-10T00:00:00+00:00"
    assert full_warehouse.query("select threshold_study from lab.thresholds").n_unique() == 1
    assert shown["conclusion"].startswith(("The best of 3", "Today's settings"))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nobody",), 2, "nobody is called 'nobody'"),
        (("cash", "--to", "2025-04-11"), 2, "the holdout"),
        (("cash", "--stop-loss", "much"), 2, "--stop-loss 'much' is not numbers such as off,0.015,0.03"),
        (("cash", "--trailing-stop", "2"), 2, "need --scaled"),
        (("cash", "--both", "--profit-take", "0.1"), 2, "choose --fixed or --scaled"),
        (("cash", "--from", "2025-04-05", "--to", "2025-04-01"), 2, "has no length"),
    ],
)
def test_what_cannot_be_studied_is_refused_in_a_sentence(call, arguments, code, said):
    done = call(*arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr


def test_an_unknown_study_is_refused_with_those_there_are(call, full_warehouse, first_file):
    name = json.loads(call("cash", "--stop-loss", "0.02", "--json", "--no-page").stdout)["threshold_study"]
    with full_warehouse.read() as reader:
        found = read_thresholds(reader, name)
        assert [picture.alt for picture in maps(found)] == ["Sharpe by trailing stop and profit take"]
        with pytest.raises(UnknownName, match=name):
            read_thresholds(reader, "other")
    with Warehouse(first_file).read() as reader, pytest.raises(UnknownName, match="`cappuccino thresholds SUBJECT`"):
        read_thresholds(reader, "other")


GRID = pl.DataFrame(
    {
        "profit_take_frac": [0.0, 0.0, 0.03, 0.03],
        "portfolio_trailing_stop_frac": [0.0, 0.0, 0.015, 0.0],
        "sharpe_daily_365": [1.0, 2.0, -1.0, 0.25],
        "is_today": [False, False, True, False],
        "is_best": [False, True, False, False],
    }
)


def map_of(points, **options):
    options = {"are_scaled": (False, False), "simulated": True} | options
    return heat(points, "profit_take_frac", "portfolio_trailing_stop_frac", **options)


def test_a_cell_is_the_mean_over_everything_else():
    drawn = words(map_of(GRID)).splitlines()
    assert {"+1.50", "-1.00", "+0.25", "off", "3 %", "1.5 %"} <= set(drawn)
    assert "+1.00" not in drawn
    above = words(map_of(GRID, above=-1.0))
    assert "above today's settings" in above
    assert "+2.50" in above


def test_the_map_names_the_unit_and_the_simulated_market_and_says_so_when_there_is_nothing():
    scaled = words(map_of(GRID, are_scaled=(True, True)))
    assert "multiples of the volatility of a day" in scaled
    assert "0.015 x" in scaled
    assert "simulated market" in scaled
    assert "nothing was tried yet" in words(map_of(GRID.clear()))
    assert "simulated" not in words(map_of(GRID, simulated=False))
    light, dark = (plots.png(map_of(GRID, theme=theme), dpi=36) for theme in (plots.LIGHT, plots.DARK))
    assert light != dark


def test_thresholds_are_written_as_they_are_meant():
    assert [level(0.0, is_scaled=True), level(0.015, is_scaled=False), level(1.5, is_scaled=True)] == [
        "off",
        "1.5 %",
        "1.5 x",
    ]
    assert level("BTC/USD", is_scaled=False) == "BTC/USD"
