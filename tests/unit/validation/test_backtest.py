"""Backtests: who is meant, which range is refused and why, what is stored, and that nothing is nicer than it is."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from cappuccino.errors import ArtifactError, ConfigError, DataError, UnknownName
from cappuccino.market.interval import Interval
from cappuccino.portfolio.measures import Measures
from cappuccino.registry.identity import ModelId
from cappuccino.registry.record import decide
from cappuccino.risk.rules import Rules
from cappuccino.rl.agent import Agent
from cappuccino.store.models import build
from cappuccino.validation.backtest import backtest, find_subject
from cappuccino.validation.backtest_record import MARKET, store_backtest
from cappuccino.validation.baselines import BASELINES
from cappuccino.validation.evaluate import run
from cappuccino.validation.run_columns import subject_columns
from tests.unit.small_lab import MODEL, TRAIN_END, add_study, add_trial, replace_production, save_model
from tests.unit.small_market import DAY, END, HOUR, SCHEMA, START, SYMBOLS
from tests.unit.threads import one_thread

__all__ = ["one_thread"]

FEW = 9


@pytest.fixture
def tested(lab, small_settings):
    """Return the backtest of a subject at the end of the record, with few permutations."""

    def call(subject=str(MODEL), start=None, stop=None, **options):
        return backtest(subject, lab, small_settings, END, start, stop, **{"n_permutations": FEW, **options})

    return call


def in_sample_frac(done):
    return subject_columns(done.subject, done.stretch, done.cash_usd)["in_sample_frac"]


def test_a_model_is_tested_where_its_training_ended_under_the_rules_of_the_traders(tested, small_settings):
    done = tested()
    assert (done.start, done.stop) == (TRAIN_END + 6 * HOUR, END)
    assert in_sample_frac(done) == 0.0
    assert done.is_simulated
    agent = Agent.load(small_settings.artifacts, MODEL)
    rules = Rules.of(small_settings.risk, small_settings.costs)
    again = run(agent.policy(done.panel), done.panel, done.row, len(done.panel), rules, cash_usd=10_000.0)
    np.testing.assert_array_equal(again.equity_usd, done.episode.equity_usd)
    assert again.units.any()


def test_the_history_before_the_range_does_not_change_what_happens_in_it(tested):
    long = tested(start=TRAIN_END + 2 * DAY)
    assert long.panel.opened_at[0] > tested().panel.opened_at[0]
    early = tested(start=TRAIN_END + 2 * DAY - HOUR)
    np.testing.assert_array_equal(long.panel.close[long.row :], early.panel.close[early.row + 1 :])


def test_a_baseline_is_its_row_beside_the_agents(tested):
    done = tested("momentum", TRAIN_END)
    assert list(done.measures) == ["momentum", *(name for name in BASELINES if name != "momentum")]
    beside = tested(start=TRAIN_END)
    assert done.measures["momentum"] == beside.measures["momentum"]
    assert done.panel.interval is Interval.H1  # that of the newest training
    assert tested("momentum", TRAIN_END, interval=Interval.D1).panel.interval is Interval.D1


def test_how_much_of_the_range_was_trained_on_is_said(tested):
    start = TRAIN_END - 5 * DAY
    done = tested(start=start, stop=TRAIN_END + 5 * DAY)
    assert in_sample_frac(done) == pytest.approx(0.5)
    assert in_sample_frac(tested(start=start, stop=TRAIN_END)) == 1.0
    assert in_sample_frac(tested("cash", start)) == 0.0


def test_subjects_are_found_by_model_by_production_and_as_the_newest_ensemble(lab, small_settings):
    assert find_subject(str(MODEL), lab, small_settings).model == MODEL
    with pytest.raises(UnknownName, match=r"no model is in production now; the best models are: training-1/3"):
        find_subject("production", lab, small_settings)
    decide(lab, lambda book: replace_production(book, MODEL, END, "because"))
    assert find_subject("production", lab, small_settings).model == MODEL
    with pytest.raises(UnknownName, match="there is no ensemble yet"):
        find_subject("ensemble", lab, small_settings)
    # The folder of an ensemble is somebody else's; here it is a network like any other.
    for study, as_of, score in (("ensemble-1", END - DAY, 9.0), ("ensemble-2", END, 0.5)):
        save_model(small_settings.artifacts, ModelId(study, 1), TRAIN_END)
        with lab.write() as writer:
            add_study(writer, study, as_of, kind="ensemble")
            add_trial(writer, ModelId(study, 1), score)
    assert find_subject("ensemble", lab, small_settings).model == ModelId("ensemble-2", 1)


@pytest.mark.parametrize("subject", ["nobody", "training-1/99", "training-2/3"])
def test_an_unknown_subject_is_refused_with_those_there_are(tested, subject):
    with pytest.raises(UnknownName, match=r"training-1/3.*equal_weight.*production"):
        tested(subject)


def test_a_damaged_model_is_refused(tested, small_settings):
    (small_settings.artifacts / str(MODEL) / "policy.pt").write_bytes(b"")
    with pytest.raises(ArtifactError, match="training-1"):
        tested()


def test_the_holdout_of_a_model_is_refused_until_it_was_opened(tested, lab):
    seal = END - 5 * DAY

    def sealed_at(moment):
        with lab.write() as writer:
            writer.execute("update lab.studies set holdout_from_utc = $moment", moment=moment)

    sealed_at(seal)
    with pytest.raises(ConfigError, match=r"holdout, which is sealed.*choose 2025-04-10"):
        tested(stop=seal + HOUR)
    done = tested()
    assert done.stop == seal
    assert tested(stop=seal).name == done.name
    assert tested("momentum", stop=END).stop == END  # nothing was chosen there
    sealed_at(TRAIN_END)
    with pytest.raises(ConfigError, match="nothing after them is open before"):
        tested()
    with lab.write() as writer:
        writer.execute(
            "insert into lab.holdouts values ($study, $seal, $now, 1, 0, $now, 0)",
            study=MODEL.study,
            seal=seal,
            now=END,
        )
    assert tested().stop == END


def test_a_range_without_bars_or_length_is_refused(tested):
    with pytest.raises(ConfigError, match="has not come yet"):
        tested(stop=END + HOUR)
    with pytest.raises(ConfigError, match="has no length"):
        tested(start=END, stop=END - DAY)
    with pytest.raises(DataError, match="give at least two"):
        tested(start=END - HOUR)


def test_bars_that_end_before_the_range_does_are_refused(lab, small_settings):
    with lab.write() as writer:
        writer.execute("delete from market.bars where opened_at_utc >= $cut", cut=END - 3 * DAY)
        build(writer, SCHEMA.models["market.bars_all"])
    with pytest.raises(DataError, match=r"end at 2025-04-12 00:00 UTC, before --to 2025-04-15"):
        backtest(str(MODEL), lab, small_settings, END, None, END, n_permutations=FEW)
    assert backtest(str(MODEL), lab, small_settings, END, n_permutations=FEW).stop == END - 3 * DAY


def test_too_little_history_is_refused_with_the_first_moment_that_has_enough(tested):
    with pytest.raises(DataError, match=r"needs \d+ 1h bars up to 2025-03-02") as refused:
        tested(start=START + DAY)
    earliest = str(refused.value).split("choose --from ")[1].split(" ")[0]
    assert tested(start=pl.Series([earliest]).str.to_datetime(time_zone="UTC")[0]).row >= 0


def test_filled_bars_beyond_the_limit_are_refused(lab, small_settings):
    with lab.write() as writer:
        writer.execute(
            "update market.bars_all set is_filled = true where symbol = 'ETH/USD' and day(opened_at_utc) < 9"
        )
    with pytest.raises(DataError, match=r"filled, more than market.max_filled_frac 1.00% \(most of ETH/USD"):
        backtest(str(MODEL), lab, small_settings, END, n_permutations=FEW)


def test_another_interval_than_the_models_is_refused(tested):
    with pytest.raises(ConfigError, match="trades 1h bars"):
        tested(interval=Interval.D1)


def test_the_name_follows_from_subject_range_and_costs(tested, lab, small_settings):
    done = tested()
    assert done.name == tested().name
    assert done.name.startswith("training-1-3-20250331-20250415-")
    others = [tested(start=TRAIN_END + DAY), tested("cash", TRAIN_END + 6 * HOUR), tested(n_permutations=8)]
    costs = small_settings.costs.model_copy(update={"fee_bps": 1.0})
    others.append(
        backtest(str(MODEL), lab, small_settings.model_copy(update={"costs": costs}), END, n_permutations=FEW)
    )
    assert len({done.name, *(other.name for other in others)}) == 5


def test_a_backtest_is_stored_whole_and_again_in_its_own_place(tested, lab):
    done = tested()
    store_backtest(lab, done, END)
    tables = [name for name in SCHEMA.contracts if name.startswith("lab.backtest")]
    before = {name: lab.query(f"from {name} order by all") for name in tables}
    assert len(before) == 8
    assert all(len(rows) for rows in before.values())
    store_backtest(lab, tested(), END)
    store_backtest(lab, tested("cash", TRAIN_END), END)
    for name, rows in before.items():
        again = lab.query(f"from {name} where backtest = $name order by all", name=done.name)
        assert again.equals(rows), name


def test_the_stored_tables_agree_with_each_other(tested, lab):
    done = tested()
    store_backtest(lab, done, END)
    row = lab.query("from lab.backtests").row(0, named=True)
    assert (row["subject"], row["study"], row["trial"]) == ("training-1/3", "training-1", 3)
    gain = done.measures[str(MODEL)].total_return_frac
    equity = lab.query("from lab.backtest_equity order by closed_at_utc")
    assert equity["value_usd"][-1] / row["cash_usd"] - 1 == pytest.approx(gain)
    assert len(equity) == len(done.panel) - done.row - 1
    kinds = lab.query(
        "select kind, sum(return_contribution_frac) from lab.backtest_attribution group by kind order by 1"
    )
    assert dict(kinds.iter_rows())["symbol"] == pytest.approx(gain)
    assert dict(kinds.iter_rows())["factor"] == pytest.approx(gain)
    net = lab.query("select sum(net_pnl_usd) from lab.backtest_trades").item()
    assert net == pytest.approx(gain * row["cash_usd"], abs=1e-6)
    months = lab.query("from lab.backtest_months")
    compounded = months.group_by("subject").agg((1 + pl.col("return_frac")).product() - 1)
    ends = dict(compounded.iter_rows())
    assert ends[str(MODEL)] == pytest.approx(gain)
    for name in BASELINES:
        assert ends[name] == pytest.approx(done.measures[name].total_return_frac, abs=1e-9)
    own = done.measures[str(MODEL)]
    assert ends[MARKET] == pytest.approx(own.total_return_frac - own.alpha_frac)
    slippage = lab.query("select sum(slippage_usd), sum(fee_usd), count(*) from lab.slippage").row(0)
    assert slippage == pytest.approx((own.slippage_usd, own.fees_usd, row["n_fills"]))
    by_symbol = lab.query("from lab.slippage_by_symbol")
    assert by_symbol["n_fills"].sum() == row["n_fills"]
    assert by_symbol["symbol"].to_list() == list(SYMBOLS)
    assert by_symbol["fee_bps"].to_list() == pytest.approx([25.0] * 2)


def test_measures_are_stored_in_full():
    columns = set(SCHEMA.contracts["lab.backtest_measures"].columns)
    assert {field.name for field in dataclasses.fields(Measures)} == columns - {"backtest", "subject", "is_baseline"}


def test_a_day_ends_at_midnight_and_the_last_one_where_the_range_does(tested, lab):
    done = tested(stop=END - 5 * HOUR)
    store_backtest(lab, done, END)
    days = lab.query("from lab.backtest_days where subject = 'cash' order by day")
    # From 31 March 06:00 on: its end is midnight of 1 April.
    assert days["day"][0].isoformat() == "2025-03-31"
    assert days["closed_at_utc"][0] == TRAIN_END + DAY
    assert days["closed_at_utc"][-1] == END - 5 * HOUR
    assert (days["closed_at_utc"].diff().drop_nulls().head(len(days) - 2) == timedelta(days=1)).all()
