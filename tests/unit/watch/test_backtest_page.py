"""The page of a backtest and its pictures."""

from __future__ import annotations

from functools import partial

import polars as pl
import pytest
from matplotlib.text import Text

from cappuccino.errors import UnknownName
from cappuccino.store.warehouse import Warehouse
from cappuccino.validation.backtest import backtest
from cappuccino.validation.backtest_record import store_backtest
from cappuccino.validation.baselines import BASELINES
from cappuccino.watch import plots
from cappuccino.watch.backtest import read_backtest, write_backtest_page
from cappuccino.watch.backtest.sections import sections
from cappuccino.watch.backtest.words import market_sentence, sample_sentence, timing_sentence
from cappuccino.watch.plots import backtest as pictures
from tests.unit.small_market import DAY, END, START
from tests.unit.watch.test_report import Page

FROM = START + 25 * DAY


@pytest.fixture
def stored(full_warehouse, small_settings):
    """Return a function that tests a baseline and stores it: warehouse and name."""

    def call(subject="mean_reversion"):
        done = backtest(subject, full_warehouse, small_settings, END, FROM, n_permutations=9)
        return full_warehouse, store_backtest(full_warehouse, done, END)

    return call


def found_of(stored):
    warehouse, name = stored
    with warehouse.read() as reader:
        return read_backtest(reader, name)


def words(figure):
    return "\n".join(artist.get_text() for artist in figure.findobj(Text))


def drawings(found):
    """Return every picture with what it is drawn from, and with nothing."""
    own = found.months.filter(pl.col("subject") == found.subject)
    cash = found.cash_usd
    return {
        "growth": (partial(pictures.growth, subject=found.subject, cash_usd=cash), found.days),
        "drawdown": (partial(pictures.drawdown, subject=found.subject, cash_usd=cash), found.equity),
        "exposure": (pictures.exposure, found.equity),
        "months": (pictures.months, own),
        "trades": (pictures.trades, found.trades),
        "factors": (partial(pictures.parts, kind="factor"), found.attribution),
        "symbols": (partial(pictures.parts, kind="symbol"), found.attribution),
        "costs": (partial(pictures.parts, kind="cost"), found.attribution),
        "luck": (pictures.luck, found.timing),
    }


def test_the_page_stands_alone_and_says_who_was_tested_and_that_the_market_is_simulated(stored, tmp_path):
    warehouse, name = stored()
    file = write_backtest_page(warehouse, name, tmp_path / "pages" / "page.html")
    text = file.read_text()
    page = Page(text)
    assert page.open_tags == []
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert "Backtest of mean_reversion" in text
    assert "Simulated market." in text
    assert "A baseline learns nothing" in text
    assert all(baseline in text for baseline in BASELINES)
    assert text.count("<figure>") == len(drawings(found_of((warehouse, name))))


def test_every_picture_names_a_simulated_market_and_says_so_when_there_is_nothing(stored):
    for name, (draw, rows) in drawings(found_of(stored())).items():
        assert "simulated market" in words(draw(rows, simulated=True)), name
        empty = words(draw(rows.clear(), simulated=False))
        assert "nothing was traded yet" in empty, name
        assert "simulated" not in empty, name


def test_every_picture_can_be_drawn_in_the_dark(stored):
    for name, (draw, rows) in drawings(found_of(stored())).items():
        light, dark = (
            plots.png(draw(rows, simulated=True, theme=theme), dpi=36) for theme in (plots.LIGHT, plots.DARK)
        )
        assert light != dark, name


def test_an_account_that_never_traded_has_a_page(stored):
    found = found_of(stored("cash"))
    told = {section.key: section for section in sections(found)}
    assert told["trades"].sentences == ("It never traded.",)
    assert "says nothing" in told["luck"].sentences[-1]
    assert all(draw.draw(plots.LIGHT) for section in told.values() for draw in section.pictures)


def test_an_unknown_backtest_is_refused_with_those_there_are(stored, first_file):
    warehouse, name = stored()
    with warehouse.read() as reader, pytest.raises(UnknownName, match=name):
        read_backtest(reader, "other")
    with Warehouse(first_file).read() as reader, pytest.raises(UnknownName, match="`cappuccino backtest SUBJECT`"):
        read_backtest(reader, "other")


def test_bars_that_were_trained_on_are_called_no_evidence():
    run = {"trained_from_utc": START, "trained_until_utc": END, "in_sample_frac": 0.25}
    assert "25% of this range" in sample_sentence(run)
    assert "no evidence" in sample_sentence(run)
    assert "none of the bars" in sample_sentence(run | {"in_sample_frac": 0.0})
    assert "learns nothing" in sample_sentence(run | {"trained_until_utc": None})


def test_luck_is_told_by_both_p_values():
    assert "more than luck" in timing_sentence("random_timing", 0.01, 0.02, 200)
    assert "not told from luck" in timing_sentence("random_timing", 0.01, 0.2, 200)
    assert "no other order" in timing_sentence("symbol_permutation", 1.0, 1.0, 0)


def test_the_market_is_told_in_numbers():
    run = {"beta": 0.5, "r_squared": 0.81, "alpha_per_day_frac": 0.0005, "alpha_t": 1.25, "timing_gamma": 0.1}
    text = market_sentence(run | {"timing_t": 0.4, "n_days": 90})
    assert "Beta 0.50" in text and "81%" in text and "+5.0 basis points a day (t = 1.2)" in text
