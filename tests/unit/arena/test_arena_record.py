from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cappuccino.arena.candidate import load_candidate
from cappuccino.arena.record import Fighter, Referee, enter_candidates, play_arena, read_matches
from cappuccino.arena.result import Pairing
from cappuccino.errors import ArtifactError, DataError
from cappuccino.market.interval import Interval
from cappuccino.market.panel import as_datetime
from cappuccino.market.sync import load_panel
from cappuccino.registry import moves
from cappuccino.registry.artifacts import folder_of
from cappuccino.registry.identity import ModelId
from cappuccino.registry.record import decide, read_book
from cappuccino.registry.stages import Stage, StageBook
from cappuccino.rl.agent import Agent
from cappuccino.settings import ArenaSettings, Settings
from cappuccino.store.warehouse import Warehouse
from tests.unit.small_lab import add_evaluation, add_study, add_trial, save_model
from tests.unit.small_market import DAY, END, HOUR, START, SYMBOLS

TRAINED = START + 27 * DAY
MODELS = [ModelId("s", n) for n in range(4)]
Add = Callable[..., None]


@pytest.fixture
def settings(small_settings: Settings) -> Settings:
    return small_settings.model_copy(
        update={"arena": ArenaSettings(streak=9, windows=3, window_days=1, min_sharpe=-9, min_profit_factor=0)}
    )


@pytest.fixture
def add(full_warehouse: Warehouse, settings: Settings) -> Add:
    """Return a function that lets a study complete the trials 0 .. n - 1."""

    def study(name: str = "s", n: int = 4, first: int = 0, trained: datetime = TRAINED, **model: object) -> None:
        with full_warehouse.write() as writer:
            if first == 0:
                add_study(writer, name, trained + 5 * DAY)
            for trial in range(first, n):
                add_trial(writer, ModelId(name, trial), 0.1 * trial)
                save_model(settings.artifacts, ModelId(name, trial), trained, **model)

    return study


def book_of(warehouse: Warehouse) -> StageBook:
    with warehouse.read() as reader:
        return read_book(reader)


def matches(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.query("from arena.matches order by sequence")


def test_completed_trials_of_training_studies_enter_once_in_their_order(
    full_warehouse: Warehouse, settings: Settings
) -> None:
    with full_warehouse.write() as writer:
        add_study(writer, "a-later", END)
        add_study(writer, "z-earlier", START)
        add_study(writer, "cheap", START, kind="timeframe")
        for name, trial, state in (
            ("a-later", 0, "complete"),
            ("z-earlier", 3, "complete"),
            ("z-earlier", 1, "complete"),
            ("z-earlier", 2, "failed"),
            ("z-earlier", 4, "pruned"),
            ("cheap", 0, "complete"),
        ):
            add_trial(writer, ModelId(name, trial), state=state)
    entered = enter_candidates(full_warehouse, settings, END)
    assert list(map(str, entered)) == ["z-earlier/1", "z-earlier/3", "a-later/0"]
    assert enter_candidates(full_warehouse, settings, END + DAY) == ()
    decisions = book_of(full_warehouse).decisions
    assert [(d.model, d.to_stage, d.decided_at_utc, d.decided_by) for d in decisions] == [
        (model, Stage.ARENA, END, "rule") for model in entered
    ]
    assert decisions[0].figures == {"sharpe_annualized": 0.5, "profit_factor": 2.0}


def test_who_does_not_pass_the_gate_stays_outside_and_is_asked_again_when_it_changes(
    full_warehouse: Warehouse, settings: Settings
) -> None:
    with full_warehouse.write() as writer:
        add_study(writer, "s", START)
        for model, sharpe, profit_factor in ((MODELS[0], 0.69, 2.0), (MODELS[1], 0.7, 1.1), (MODELS[2], 3.0, 1.09)):
            add_trial(writer, model)
            add_evaluation(writer, model, sharpe, profit_factor)
    strict = settings.model_copy(update={"arena": ArenaSettings()})
    assert enter_candidates(full_warehouse, strict, END) == (MODELS[1],)
    judged = full_warehouse.query("select trial, passed, reason from arena.gates order by trial").rows()
    assert judged == [
        (0, False, "Sharpe 0.690 below 0.7"),
        (1, True, None),
        (2, False, "profit factor 1.090 below 1.1"),
    ]
    assert enter_candidates(full_warehouse, strict, END) == ()
    assert enter_candidates(full_warehouse, settings, END) == (MODELS[0], MODELS[2])
    assert full_warehouse.query("select bool_and(passed) from arena.gates").item()


def test_the_arena_neither_loads_nor_plays_bars_of_the_holdout(
    full_warehouse: Warehouse, settings: Settings, add: Add
) -> None:
    sealed = settings.model_copy(update={"training": settings.training.model_copy(update={"holdout_days": 7.0})})
    add()
    play_arena(full_warehouse, sealed, END)
    before = matches(full_warehouse)
    last = full_warehouse.query("select max(to_utc) from arena.windows").item()
    assert last <= (END - 7 * DAY).replace(tzinfo=last.tzinfo)
    with full_warehouse.write() as writer:
        for table in ("arena.matches", "arena.gates", "promotion.decisions"):
            writer.execute(f"delete from {table}")
        writer.execute("update market.bars_all set close = 3 * close where closed_at_utc > $since", since=END - 7 * DAY)
    play_arena(full_warehouse, sealed, END)
    assert_frame_equal(matches(full_warehouse), before)
    referee = Referee(full_warehouse, sealed, tuple(MODELS), END)
    assert as_datetime(referee._panel(load_candidate(settings.artifacts, MODELS[0])).closed_at[-1]) == END - 7 * DAY


def test_a_retired_model_does_not_enter_again(full_warehouse: Warehouse, settings: Settings, add: Add) -> None:
    add(n=1)
    enter_candidates(full_warehouse, settings, END)
    decide(full_warehouse, lambda book: moves.retire(book, MODELS[0], END, "tried"))
    assert enter_candidates(full_warehouse, settings, END) == ()


def test_a_season_leaves_a_champion_and_a_record_of_everybody_else(
    full_warehouse: Warehouse, settings: Settings, add: Add
) -> None:
    add()
    said: list[str] = []
    summary = play_arena(full_warehouse, settings, END, said.append)
    assert (summary.n_entered, summary.n_matches, summary.promoted) == (4, 3, ())
    book, played = book_of(full_warehouse), matches(full_warehouse)
    assert book.in_stage(Stage.ARENA) == (summary.champion,)
    assert len(book.in_stage(Stage.RETIRED)) == 3
    assert played["sequence"].to_list() == [1, 2, 3]
    assert played["played_at_utc"].unique().to_list() == [END]
    assert [line.split(":")[0] for line in said] == ["match 1", "match 2", "match 3"]
    assert played.select("champion_wins", "challenger_wins").sum_horizontal().max() <= 3
    assert not (played["champion_wins"] == played["challenger_wins"]).all()  # the models differ
    with full_warehouse.read() as reader:
        assert [m.pairing.match_id for m in read_matches(reader)] == played["match_id"].to_list()


def test_nothing_is_played_twice_and_who_comes_later_plays_only_the_champion(
    full_warehouse: Warehouse, settings: Settings, add: Add
) -> None:
    add(n=3)
    first = play_arena(full_warehouse, settings, END - DAY)
    before = matches(full_warehouse)
    again = play_arena(full_warehouse, settings, END)
    assert (again.n_entered, again.n_matches, again.champion) == (0, 0, first.champion)
    assert_frame_equal(matches(full_warehouse), before)
    add(n=4, first=3)
    assert play_arena(full_warehouse, settings, END).n_matches == 1
    last = matches(full_warehouse).row(-1, named=True)
    assert (last["champion"], last["challenger"]) == (str(first.champion), "s/3")


def test_windows_lie_behind_everything_that_either_side_trained_on(
    full_warehouse: Warehouse, settings: Settings, add: Add
) -> None:
    """Lookback included, in both orders: the later of the two trainings counts."""
    ends = {"early": START + 24 * DAY, "late": START + 38 * DAY, "middle": START + 30 * DAY}
    for name, trained in ends.items():
        add(name, 1, trained=trained)
    play_arena(full_warehouse, settings, END)
    with full_warehouse.read() as reader:
        played = read_matches(reader)
    assert len(played) == 2
    for match in played:
        sides = (match.pairing.champion, match.pairing.challenger)
        trained = max(ends[model.study] for model in sides)
        assert len(match.windows) == 3
        for window in match.windows:
            assert window.start_utc - 6 * HOUR >= trained
            assert window.stop_utc <= END
            assert window.stop_utc - window.start_utc == DAY


def test_bars_after_the_moment_change_no_match(full_warehouse: Warehouse, settings: Settings, add: Add) -> None:
    add(n=2)
    now = END - 5 * DAY
    pairing = Pairing(MODELS[0], MODELS[1], 1)
    expected = Referee(full_warehouse, settings, tuple(MODELS[:2]), now).play(pairing)
    assert max(window.stop_utc for window in expected.windows) <= now
    with full_warehouse.write() as writer:
        writer.execute(
            "update market.bars_all set close = 2 * close, high = 2 * high where closed_at_utc > $now", now=now
        )
    assert Referee(full_warehouse, settings, tuple(MODELS[:2]), now).play(pairing) == expected


def test_a_model_scores_the_same_whoever_else_is_in_the_arena(
    full_warehouse: Warehouse, settings: Settings, add: Add
) -> None:
    """Panels are shared and reach back for the earliest training; that changes no bit of a match."""
    add()
    add("old", 1, trained=START + 22 * DAY)
    pairing = Pairing(MODELS[0], MODELS[1], 1)
    alone = Referee(full_warehouse, settings, tuple(MODELS[:2]), END).play(pairing)
    crowd = Referee(full_warehouse, settings, (ModelId("old", 0), *MODELS), END)
    assert crowd.play(pairing) == alone == crowd.play(pairing)


def test_a_season_that_was_killed_goes_on_to_the_same_end(
    full_warehouse: Warehouse, settings: Settings, add: Add, tmp_path_factory: pytest.TempPathFactory
) -> None:
    add()
    copy = Warehouse(tmp_path_factory.mktemp("copy") / "w.duckdb")
    full_warehouse.publish(copy.file)
    straight = play_arena(copy, settings, END)

    def kill(line: str) -> None:
        raise InterruptedError

    for n_stored in (1, 2):
        with pytest.raises(InterruptedError):
            play_arena(full_warehouse, settings, END, kill)
        assert len(matches(full_warehouse)) == n_stored
    rest = play_arena(full_warehouse, settings, END)
    assert (rest.n_entered, rest.n_matches, rest.champion) == (0, 1, straight.champion)
    assert_frame_equal(matches(full_warehouse), matches(copy), check_exact=True)
    assert book_of(full_warehouse) == book_of(copy)


def test_who_has_the_streak_but_fails_its_audit_retires_instead_of_rising(
    full_warehouse: Warehouse, settings: Settings, add: Add
) -> None:
    """The models of this lab have invented scales, which no training range gives."""
    add()
    short = settings.model_copy(update={"arena": settings.arena.model_copy(update={"streak": 1})})
    summary = play_arena(full_warehouse, short, END)
    book = book_of(full_warehouse)
    assert summary.promoted == ()
    assert book.in_stage(Stage.SANDBOX) == ()
    winners = matches(full_warehouse)["winner"].drop_nulls().to_list()
    reasons = {str(model): book.latest[model].reason for model in MODELS if str(model) in winners}
    assert reasons and all(reason.startswith("failed its audit: scales") for reason in reasons.values())
    audited = full_warehouse.query("select distinct name from lab.audits where not passed")["name"].to_list()
    assert set(audited) == {"recorded_weights", "scales", "train_end"}


def test_models_of_other_symbols_and_intervals_fight_too(
    full_warehouse: Warehouse, settings: Settings, add: Add
) -> None:
    add("both", 1)
    add("swapped", 1, symbols=SYMBOLS[::-1])
    add("one", 1, symbols=("ETH/USD",))
    add("slow", 1, interval=Interval.H4, trained=START + 30 * DAY)
    assert play_arena(full_warehouse, settings, END).n_matches == 3
    with full_warehouse.read() as reader:
        last = read_matches(reader)[-1]
    assert last.pairing.challenger.study == "slow"
    for window in last.windows:
        assert Interval.H4.floor(window.start_utc) == window.start_utc
        assert window.start_utc >= START + 30 * DAY + 6 * 4 * HOUR


def test_a_damaged_model_stops_the_arena_by_name_and_costs_no_match(
    full_warehouse: Warehouse, settings: Settings, add: Add
) -> None:
    add()
    weights = folder_of(settings.artifacts, MODELS[2]) / "policy.pt"
    weights.write_bytes(b"?")
    with pytest.raises(ArtifactError, match=r"policy\.pt does not match its manifest"):
        play_arena(full_warehouse, settings, END)
    assert len(matches(full_warehouse)) == 1
    decide(full_warehouse, lambda book: moves.retire(book, MODELS[2], END, "damaged"))
    assert play_arena(full_warehouse, settings, END).n_matches == 1


def test_bars_that_do_not_reach_for_a_match_are_an_error(
    full_warehouse: Warehouse, settings: Settings, add: Add
) -> None:
    add(n=2, trained=END - DAY)
    with pytest.raises(DataError, match="no acceptable window of 1 days"):
        play_arena(full_warehouse, settings, END)
    assert matches(full_warehouse).is_empty()
    assert len(book_of(full_warehouse).in_stage(Stage.ARENA)) == 2


def test_an_empty_arena_plays_nothing(full_warehouse: Warehouse, settings: Settings) -> None:
    summary = play_arena(full_warehouse, settings, END)
    assert (summary.n_entered, summary.n_matches, summary.promoted, summary.champion) == (0, 0, (), None)


def test_a_fighter_computes_its_features_once_and_trades_no_other_panel(
    full_warehouse: Warehouse, settings: Settings, add: Add
) -> None:
    add(n=1)
    with full_warehouse.read() as reader:
        panel = load_panel(reader, SYMBOLS, Interval.H1, END)
    fighter = Fighter(Agent.load(settings.artifacts, MODELS[0]), panel)
    assert fighter.policy(panel) is fighter.policy(panel)
    with pytest.raises(ValueError, match="trades the panel that it was made with"):
        fighter.policy(panel.rows(0, 100))
