"""promote, demote, retire, rollback: recorded decisions of the operator, on models that exist and are whole."""

import json

import polars as pl
import pytest

from tests.conftest import weights_of


@pytest.fixture
def move(another_life, cappuccino):
    def call(*arguments):
        return cappuccino(*arguments, *another_life.options)

    return call


@pytest.fixture
def stage_of(another_life):
    def look(model):
        rows = another_life.warehouse.query(
            "select stage from promotion.stages where study || '/' || trial = $model", model=model
        )
        return rows.item()

    return look


@pytest.fixture
def champion(another_life, production):
    """A model that stands in the arena: one that has been elsewhere since is put back, whoever won in this life."""
    warehouse = another_life.warehouse
    decisions = warehouse.query("select *, study || '/' || trial as model from promotion.decisions order by sequence")
    model = str(decisions.filter(pl.col("model") != production)["model"][0])
    kept = decisions.filter((pl.col("model") != model) | (pl.col("action") == "enter"))
    with warehouse.write() as writer:
        writer.execute("delete from promotion.decisions")
    with warehouse.write() as writer:
        sequence = pl.int_range(1, len(kept) + 1)
        writer.append("promotion.decisions", kept.with_columns(sequence=sequence).drop("model"))
    return model


@pytest.fixture
def n_decisions(another_life):
    return lambda: another_life.warehouse.query("select count(*) from promotion.decisions").item()


def damage(life, model):
    weights = weights_of(life.folder, model)
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)


def test_a_model_is_promoted_to_production_and_rolled_back(move, stage_of, champion, production):
    first = move("promote", champion, "--reason", "I like it", "--json")
    assert first.exit_code == 0, first.stderr
    (decision,) = json.loads(first.stdout)
    assert (decision["from_stage"], decision["to_stage"]) == ("arena", "sandbox")
    assert (decision["decided_by"], decision["reason"]) == ("operator", "I like it")
    assert decision["decided_at_utc"] == "2025-07-01T00:00:00+00:00", "the present of a record that has ended"

    second = move("promote", champion, "--reason", "at once")
    assert second.exit_code == 0
    assert f"{production}: production -> retired (at once)" in second.stdout
    assert f"{champion}: sandbox -> production (at once)" in second.stdout
    assert (stage_of(champion), stage_of(production)) == ("production", "retired")

    back = move("rollback")
    assert back.exit_code == 0, back.stderr
    assert f"{production}: retired -> production (the operator asked for it)" in back.stdout
    assert (stage_of(champion), stage_of(production)) == ("retired", "production")


def test_a_model_is_demoted_and_retired(move, stage_of, production):
    assert move("demote", production, "--reason", "too quiet").exit_code == 0
    assert stage_of(production) == "sandbox"
    (retired,) = json.loads(move("retire", production, "--reason", "still too quiet", "--json").stdout)
    assert (retired["from_stage"], retired["to_stage"]) == ("sandbox", "retired")
    assert stage_of(production) == "retired"


def test_without_a_former_model_there_is_nothing_to_roll_back_to(move, n_decisions):
    before = n_decisions()
    done = move("rollback")
    assert done.exit_code == 1
    assert "nothing to roll back to" in done.stderr
    assert n_decisions() == before


def test_only_a_command_of_its_own_leads_to_real_money(move, production, n_decisions):
    before = n_decisions()
    done = move("promote", production, "--reason", "greed")
    assert done.exit_code == 1
    assert "only `cappuccino live promote` leads to real money" in done.stderr
    assert n_decisions() == before


def test_an_illegal_move_says_what_the_rules_allow(move, champion, n_decisions):
    move("retire", champion, "--reason", "enough")
    before = n_decisions()
    for command in ("promote", "demote", "retire"):
        done = move(command, champion, "--reason", "again")
        assert done.exit_code == 1
        assert "retired" in done.stderr
    assert n_decisions() == before


def test_a_model_whose_weights_changed_is_not_promoted_but_can_be_retired(another_life, move, stage_of, champion):
    damage(another_life, champion)
    done = move("promote", champion, "--reason", "unaware")
    assert done.exit_code == 1
    assert f"{weights_of(another_life.folder, champion).name} does not match its manifest" in done.stderr
    assert stage_of(champion) == "arena"
    retired = move("retire", champion, "--reason", "its files are damaged")
    assert retired.exit_code == 0, retired.stderr
    assert stage_of(champion) == "retired"


def test_a_damaged_model_is_not_rolled_back_to(another_life, move, stage_of, champion, production):
    for _ in range(2):
        assert move("promote", champion, "--reason", "up").exit_code == 0
    damage(another_life, production)
    done = move("rollback")
    assert done.exit_code == 1
    assert "does not match its manifest" in done.stderr
    assert (stage_of(champion), stage_of(production)) == ("production", "retired")


def test_a_model_without_files_is_not_promoted(another_life, move, champion):
    (another_life.folder / "artifacts" / champion / "manifest.json").unlink()
    done = move("promote", champion, "--reason", "unaware")
    assert done.exit_code == 1
    assert "manifest.json is missing" in done.stderr


@pytest.mark.parametrize("command", ["promote", "demote", "retire"])
@pytest.mark.parametrize("name", ["nobody/0", "nobody", "7", "../../etc/0", "s/-1"])
def test_an_unknown_model_is_wrong_use(command, name, life, cappuccino):
    done = cappuccino(command, name, "--reason", "r", *life.options)
    assert done.exit_code == 2
    assert "STUDY/TRIAL" in done.stderr or "is no name" in done.stderr


def test_an_unknown_model_is_answered_with_known_ones(life, cappuccino, production):
    study = production.rpartition("/")[0]
    done = cappuccino("promote", f"{study}/999", "--reason", "r", *life.options)
    assert done.exit_code == 2
    assert f"{study}/" in done.stderr.partition("the best are")[2]


@pytest.mark.parametrize("command", ["promote", "demote", "retire"])
def test_a_move_needs_a_reason(command, life, cappuccino, production):
    assert "--reason" in cappuccino(command, production, *life.options).stderr
    assert cappuccino(command, production, *life.options).exit_code == 2
    assert cappuccino(command, production, "--reason", " ", *life.options).exit_code == 1
