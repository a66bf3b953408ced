"""Ensembles of a warehouse: built once, judged beside their members on bars that nobody trained on."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assets.ensembles import ensembles
from cappuccino.arena.candidate import load_candidate
from cappuccino.arena.record import play_arena
from cappuccino.clock import FixedClock
from cappuccino.ensemble.agent import Ensemble
from cappuccino.ensemble.build import Built, build_ensembles, is_better
from cappuccino.ensemble.members import gated
from cappuccino.ensemble.votes import VOTES
from cappuccino.errors import ArtifactError
from cappuccino.market.interval import Interval
from cappuccino.market.panel import as_datetime64
from cappuccino.market.sync import load_panel
from cappuccino.registry.artifacts import folder_of
from cappuccino.registry.identity import ModelId
from cappuccino.registry.manifest import Manifest
from cappuccino.risk.rules import Rules
from cappuccino.settings import ArenaSettings, EnsembleSettings, Settings, load
from cappuccino.store.models import build
from cappuccino.store.warehouse import Warehouse, Writer
from cappuccino.validation.baselines import BASELINES, benchmark_returns
from cappuccino.validation.evaluate import run
from tests.unit.ensemble.conftest import save_member
from tests.unit.small_lab import add_study, add_trial, save_model
from tests.unit.small_market import DAY, END, HOUR, SCHEMA, START, SYMBOLS

TRAINED = START + 30 * DAY
UNTIL = TRAINED + 5 * DAY
FEW = EnsembleSettings(members=3, keep=2, drop_every_bars=6, reward_bars=24)


@dataclass(frozen=True)
class Lab:
    """A warehouse folder with its settings."""

    warehouse: Warehouse
    settings: Settings

    @classmethod
    def at(cls, folder: Path) -> Lab:
        empty = folder / "empty.toml"
        empty.write_text("")
        market = {"symbols": SYMBOLS, "base_interval": "1h", "end": None}
        settings = load(empty, {"warehouse": folder, "market": market, "ensembles": FEW.model_dump()})
        return cls(Warehouse(folder / "cappuccino.duckdb", timeout_s=20), settings)

    def train(self, name: str, trials: Iterable[int], as_of: datetime = TRAINED) -> None:
        """Let a study complete trials; the higher its number, the better its score."""
        with self.warehouse.write() as writer:
            add_study(writer, name, as_of)
            for trial in trials:
                add_trial(writer, ModelId(name, trial), 0.1 * trial)
                set_weights(writer, save_member(self.settings.artifacts, ModelId(name, trial), TRAINED))

    def build(self, now: datetime = END, until: datetime = UNTIL) -> Built:
        return build_ensembles(self.warehouse, self.settings, now, until)

    def rows(self, study: str | None) -> pl.DataFrame:
        return self.warehouse.query("from lab.ensembles where study = $study order by trial", study=study)

    def scores(self, study: str | None) -> pl.DataFrame:
        return self.warehouse.query(
            "from lab.ensemble_scores where study = $study order by role, trial, rank, subject", study=study
        )


def set_weights(writer: Writer, manifest: Manifest) -> None:
    """Say in the trial's row which weights it left."""
    writer.execute(
        "update lab.trials set weight_sha256 = $sha where study = $study and trial = $trial",
        sha=manifest.weight_sha256,
        study=manifest.study,
        trial=manifest.trial,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, full_file: Path) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(full_file, folder)
    Lab.at(folder).train("s", range(4))
    return folder


@pytest.fixture(scope="module")
def done_in(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> tuple[Path, Built]:
    folder = tmp_path_factory.mktemp("built") / "lab"
    shutil.copytree(trained, folder)
    return folder, Lab.at(folder).build()


@pytest.fixture(scope="module")
def done(done_in: tuple[Path, Built]) -> Built:
    """What the first build did."""
    return done_in[1]


@pytest.fixture(scope="module")
def built(done_in: tuple[Path, Built]) -> Lab:
    """Where the first ensembles were built; to be looked at only."""
    return Lab.at(done_in[0])


@pytest.fixture
def lab(tmp_path: Path, trained: Path) -> Lab:
    """Four trials, no ensemble yet."""
    return Lab.at(Path(shutil.copytree(trained, tmp_path / "lab")))


@pytest.fixture
def later(tmp_path: Path, done_in: tuple[Path, Built]) -> Lab:
    """Ensembles that were built before."""
    return Lab.at(Path(shutil.copytree(done_in[0], tmp_path / "lab")))


def test_the_first_ensembles_of_the_best_members_enter_as_candidates(built: Lab, done: Built) -> None:
    assert done.study is not None
    assert done.study.startswith(f"ensemble-{TRAINED:%Y%m%dT%H%M}-")
    assert (done.n_members, done.is_new, len(done.entered)) == (3, True, 4)
    rows = built.rows(done.study)
    assert rows["vote"].to_list() == list(VOTES)
    assert rows["is_better"].all()
    assert rows["reason"].str.contains("the first of its kind").all()
    trials = built.warehouse.query("from lab.trials where study = $study order by trial", study=done.study)
    assert trials["state"].to_list() == ["complete"] * 4
    assert trials["score"].to_list() == rows["score"].to_list()
    study = built.warehouse.query("from lab.studies where study = $study", study=done.study).row(0, named=True)
    assert (study["kind"], study["state"], study["interval"], study["lookback"]) == ("ensemble", "complete", "1h", 6)
    assert (study["train_end_utc"], study["holdout_from_utc"], study["data_end_utc"]) == (TRAINED, UNTIL, END)
    for model in done.entered:
        ensemble = load_candidate(built.settings.artifacts, model)
        assert isinstance(ensemble, Ensemble)
        assert [str(one.model) for one in ensemble.document.members] == ["s/3", "s/2", "s/1"]
        assert ensemble.manifest.learner == "ensemble"
        assert trials.row(model.trial, named=True)["weight_sha256"] == ensemble.manifest.weight_sha256


def test_members_and_ensembles_are_judged_on_the_same_unseen_bars(built: Lab, done: Built) -> None:
    rows = built.scores(done.study)
    assert rows["from_utc"].unique().to_list() == [TRAINED + 6 * HOUR]
    assert rows["to_utc"].unique().to_list() == [UNTIL]
    assert rows["n_bars"].unique().to_list() == [(UNTIL - TRAINED) // HOUR - 6]
    assert rows.filter(role="ensemble")["subject"].to_list() == list(VOTES)
    assert rows.filter(role="member")["subject"].to_list() == ["s/3", "s/2", "s/1"]
    assert rows.filter(role="member")["walk_forward_score"].to_list() == pytest.approx([0.3, 0.2, 0.1])
    assert rows["sharpe_annualized"].n_unique() == 7


def test_a_contestant_does_what_it_does_alone_bit_by_bit(built: Lab, done: Built) -> None:
    with built.warehouse.read() as reader:
        panel = load_panel(reader, SYMBOLS, Interval.H1, UNTIL)
    start = int(np.searchsorted(panel.closed_at, as_datetime64(TRAINED + 6 * HOUR)))
    rules = Rules.of(built.settings.risk, built.settings.costs)
    found = built.scores(done.study)
    for model, subject in [(done.entered[3], "adaptive"), (ModelId("s", 2), "s/2")]:
        policy = load_candidate(built.settings.artifacts, model).policy(panel)
        alone = run(policy, panel, start, len(panel), rules)
        sharpe = alone.measures(0, benchmark_returns(panel, start, len(panel))).sharpe_annualized
        assert found.filter(subject=subject)["sharpe_annualized"].to_list() == [sharpe]


def test_an_ensemble_has_the_figures_that_gates_ask_for_and_baselines_beside_it(built: Lab, done: Built) -> None:
    figures = built.warehouse.query(
        "from lab.evaluations where study = $study and scope = 'validation' order by trial, subject", study=done.study
    )
    assert figures.filter(subject="agent")["trial"].to_list() == [0, 1, 2, 3]
    assert set(figures.filter(trial=-1)["subject"]) == set(BASELINES)
    daily = built.warehouse.query("from lab.daily_returns where study = $study and trial = 0", study=done.study)
    assert len(daily) == (UNTIL - TRAINED - 6 * HOUR) // DAY


def test_the_view_puts_each_ensemble_beside_the_single_models(later: Lab, done: Built) -> None:
    with later.warehouse.write() as writer:
        build(writer, SCHEMA.models["lab.ensembles_beside_single"])
    rows = later.warehouse.query("from lab.ensembles_beside_single")
    singles = later.scores(done.study).filter(role="member")
    assert rows["vote"].to_list() == list(VOTES)
    assert rows["first_member"].unique().to_list() == ["s/3"]
    assert rows["best_score"].unique().to_list() == [singles["sharpe_annualized"].max()]
    assert rows["equal_weight_score"].null_count() == 0


def test_bars_after_the_seal_change_nothing(lab: Lab, built: Lab, done: Built) -> None:
    with lab.warehouse.write() as writer:
        writer.execute("update market.bars_all set close = 2 * close where closed_at_utc > $until", until=UNTIL)
    assert lab.build() == done
    assert_frame_equal(lab.scores(done.study), built.scores(done.study), check_exact=True)


def test_the_same_members_make_nothing_new(later: Lab, built: Lab, done: Built) -> None:
    again = later.build(END + DAY, UNTIL + DAY)
    assert (again.study, again.entered, again.is_new) == (done.study, done.entered, False)
    assert_frame_equal(later.scores(done.study), built.scores(done.study))


def test_a_build_that_died_before_its_rows_were_written_goes_on(lab: Lab, done: Built) -> None:
    folder = folder_of(lab.settings.artifacts, done.entered[0])
    folder.mkdir(parents=True)
    (folder / "model.json").write_text("half")
    assert lab.build() == done
    assert load_candidate(lab.settings.artifacts, done.entered[0]).manifest.model == done.entered[0]


def test_a_new_ensemble_that_is_not_better_does_not_enter(later: Lab, done: Built) -> None:
    later.train("t", range(4), TRAINED + DAY)  # the same weights under other names
    second = later.build(END + HOUR)
    assert second.study != done.study
    assert second.entered == ()
    rows = later.rows(second.study)
    assert rows["previous"].to_list() == [str(model) for model in done.entered]
    assert rows["previous_score"].to_list() == rows["score"].to_list()
    assert rows["reason"].str.contains(" is not 1 % better than ").all()
    trials = later.warehouse.query("from lab.trials where study = $study", study=second.study)
    assert trials["state"].unique().to_list() == ["pruned"]
    assert trials["artifact"].null_count() == 4
    assert not folder_of(later.settings.artifacts, ModelId(str(second.study), 0)).exists()
    assert set(later.scores(second.study)["role"]) == {"ensemble", "member", "previous"}


def test_each_kind_of_vote_has_a_place_of_its_own_to_win(later: Lab) -> None:
    later.train("t", range(4, 8), TRAINED + DAY)
    second = later.build(END + HOUR)
    rows = later.rows(second.study)
    for row in rows.iter_rows(named=True):
        assert row["is_better"] == is_better(row["score"], row["previous_score"], 0.01)
        assert ("at least" in row["reason"]) == row["is_better"]
    assert [model.trial for model in second.entered] == rows.filter("is_better")["trial"].to_list()
    assert (rows["score"] != rows["previous_score"]).all()


@pytest.mark.parametrize(
    ("score", "previous", "expected"),
    [
        (1.01, 1.0, True),
        (1.009, 1.0, False),
        (1.0, 1.0, False),
        (-0.99, -1.0, True),
        (-0.995, -1.0, False),
        (-1.0, -1.0, False),
        (0.001, 0.0, True),
        (0.0, 0.0, False),
        (0.5, -1.0, True),
        (float("nan"), 1.0, False),
    ],
)
def test_better_means_one_percent_of_the_size_of_the_score_before(
    score: float, previous: float, expected: bool
) -> None:
    assert is_better(score, previous, 0.01) is expected


def test_an_ensemble_before_that_cannot_be_loaded_keeps_nobody_out(later: Lab, done: Built) -> None:
    for model in done.entered:
        (folder_of(later.settings.artifacts, model) / "model.json").unlink()
    later.train("t", range(4), TRAINED + DAY)
    second = later.build(END + HOUR)
    assert len(second.entered) == 4
    assert later.rows(second.study)["previous_score"].null_count() == 4


def test_an_ensemble_before_of_another_interval_is_judged_over_the_same_time(later: Lab, done: Built) -> None:
    with later.warehouse.write() as writer:
        add_study(writer, "slow", TRAINED + DAY, interval="4h")
        for trial in range(2):
            add_trial(writer, ModelId("slow", trial), 1.0)
            model = ModelId("slow", trial)
            set_weights(writer, save_member(later.settings.artifacts, model, TRAINED + 2 * DAY, interval=Interval.H4))
    few = later.settings.ensembles.model_copy(update={"drop_every_bars": 2, "reward_bars": 4})
    settings = later.settings.model_copy(update={"ensembles": few})
    slow = build_ensembles(later.warehouse, settings, END + HOUR, UNTIL)
    rows = later.rows(slow.study)
    assert rows["previous"].to_list() == [str(model) for model in done.entered]
    assert rows["previous_score"].null_count() == 0
    assert rows["from_utc"].unique().to_list() == [TRAINED + 3 * DAY]
    assert set(later.scores(slow.study)["role"]) == {"ensemble", "member"}


def test_too_few_members_or_bars_are_said_plainly(lab: Lab) -> None:
    nobody = build_ensembles(lab.warehouse, lab.settings, START, UNTIL)
    assert nobody == Built(None, 0, (), False, "no ensemble: 0 of 0 completed trials may be members, 2 are needed")
    alone = build_ensembles(lab.warehouse, lab.settings, END, UNTIL, passes=lambda model: model.trial == 1)
    assert "1 of 4 completed trials may be members" in alone.said
    assert "3 bars that no member trained on, 10 are needed" in lab.build(END, TRAINED + 9 * HOUR).said
    assert "0 bars that no member trained on, 10 are needed" in lab.build(END, TRAINED - 9 * HOUR).said
    assert lab.warehouse.query("from lab.ensembles").is_empty()


def test_who_votes_like_a_better_one_is_no_member(lab: Lab) -> None:
    """Networks that hardly learned anything are many models in name, and one in what they do."""
    with lab.warehouse.write() as writer:
        for trial in (4, 5):
            add_trial(writer, ModelId("s", trial), 0.9)
            set_weights(writer, save_model(lab.settings.artifacts, ModelId("s", trial), TRAINED))
    done = lab.build()
    assert lab.scores(done.study).filter(role="member")["subject"].to_list() == ["s/4", "s/3", "s/2"]


def test_weights_that_are_not_those_of_the_trial_stop_the_build(lab: Lab) -> None:
    with lab.warehouse.write() as writer:
        writer.execute("update lab.trials set weight_sha256 = 'another' where trial = 2")
    with pytest.raises(ArtifactError, match="the weights of model s/2 are not those of its trial"):
        lab.build()


def test_who_may_not_fight_may_not_vote(lab: Lab) -> None:
    """Sharpe ratios on the folds are 0, 0.1, 0.2 and 0.3, profit factors 2."""
    with lab.warehouse.read() as reader:
        passes = gated(reader, ArenaSettings(min_sharpe=0.15, min_profit_factor=2.0))
        strict = gated(reader, ArenaSettings(min_sharpe=0.15, min_profit_factor=2.1))
    assert [trial for trial in range(5) if passes(ModelId("s", trial))] == [2, 3]
    assert not any(strict(ModelId("s", trial)) for trial in range(5))


def test_ensembles_fight_in_the_arena_beside_their_members(later: Lab, done: Built) -> None:
    easy = ArenaSettings(streak=9, windows=1, window_days=1, min_sharpe=-100, min_profit_factor=0)
    settings = later.settings.model_copy(update={"arena": easy})
    season = play_arena(later.warehouse, settings, END)
    assert (season.n_entered, season.n_matches) == (8, 7)
    fought = later.warehouse.query("select unnest([champion, challenger]) as model from arena.matches")
    assert {str(model) for model in done.entered} <= set(fought["model"])


def test_the_asset_shows_each_ensemble_beside_single_models(later: Lab, done: Built) -> None:
    easy = later.settings.arena.model_copy(update={"min_sharpe": -100.0, "min_profit_factor": 0.0})
    resources = {
        "settings": later.settings.model_copy(update={"arena": easy}),
        "clock": FixedClock(END),
        "warehouse": later.warehouse,
    }
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([ensembles], resources=resources, instance=instance)
    (made,) = result.asset_materializations_for_node("ensembles")[:1]
    assert made.metadata["study"].value == done.study
    assert made.metadata["members"].value == 3
    table = str(made.metadata["beside_single"].value).splitlines()
    assert [line.split("|")[1].strip() for line in table[2:]] == list(VOTES)
