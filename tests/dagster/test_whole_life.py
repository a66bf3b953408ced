"""`cappuccino run` on a small simulated market: what its tables say about the life of its models."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assets.records import DEPS
from assets.tables import schema
from cappuccino.arena.candidate import load_candidate
from cappuccino.market.interval import Interval
from cappuccino.registry.identity import ModelId
from cappuccino.store.models import run_tests
from cappuccino.store.warehouse import Warehouse
from cappuccino.validation.baselines import BASELINES

END = datetime(2025, 7, 1, tzinfo=UTC)
DECIDED = END - timedelta(days=4)
STEPS = [DECIDED + timedelta(days=2), END]
N_TRIALS, N_TREES, N_ENSEMBLES, STREAK = 5, 2, 4, 1
N_CANDIDATES = N_TRIALS + N_TREES + N_ENSEMBLES
ARENA, SANDBOX, PRODUCTION, RETIRED = "arena", "sandbox", "production", "retired"


@pytest.fixture(scope="module")
def ask(life):
    return life.warehouse.query


@pytest.fixture(scope="module")
def decisions(ask):
    return ask("select *, study || '/' || trial as model from promotion.decisions order by sequence")


@pytest.fixture(scope="module")
def matches(ask):
    return ask("select * from arena.matches order by sequence")


def test_every_trial_of_both_searches_was_completed_at_the_first_attempt(ask):
    trials = ask("select kind, trial, lab.trials.state, fold_scores from lab.trials join lab.studies using (study)")
    assert sorted(trials.filter(kind="timeframe")["trial"]) == list(range(4))
    assert sorted(trials.filter(kind="training")["trial"]) == list(range(N_TRIALS))
    assert set(trials["state"]) == {"complete"}
    assert sorted(trials.filter(kind="trees")["trial"]) == list(range(N_TREES))
    assert sorted(trials.filter(kind="ensemble")["trial"]) == list(range(N_ENSEMBLES))
    assert set(trials.filter(pl.col("kind") != "ensemble")["fold_scores"].list.len()) == {2}
    assert ask("select outcome, attempt from lab.attempts").unique().rows() == [("complete", 1)]


def test_training_works_on_the_pair_with_the_best_mean_score(ask):
    best = ask("select interval, lookback from lab.timeframes order by mean_score desc, interval, lookback limit 1")
    trained = ask("select distinct interval, lookback from lab.trials where study like 'training-%'")
    assert trained.rows() == best.rows()
    assert ask("select interval, lookback from lab.timeframe_choices").rows() == best.rows()


def test_every_candidate_has_its_verified_folder_and_no_cheap_trial_has_one(life, ask):
    trained = ask("select study, trial, weight_sha256 from lab.trials where artifact is not null order by trial")
    assert len(trained) == N_CANDIDATES
    for study, trial, weights in trained.iter_rows():
        manifest = load_candidate(life.settings.artifacts, ModelId(study, trial)).manifest
        assert manifest.weight_sha256 == weights
        assert manifest.simulated
        assert manifest.train_end <= DECIDED - timedelta(days=12)
    assert len(list(life.settings.artifacts.glob("*/*/manifest.json"))) == N_CANDIDATES


def test_a_finished_study_leaves_no_scratch_behind(life):
    assert [path.name for path in (life.folder / "scratch").iterdir() if path.is_dir()] == []


def test_matches_and_decisions_tell_the_same_story_of_the_arena(decisions, matches):
    line = [d["model"] for d in decisions.filter(action="enter").iter_rows(named=True)]
    assert len(line) == N_CANDIDATES
    promoted, retired, n_beaten = [], [], 0
    for match in matches.iter_rows(named=True):
        champion, challenger, winner = match["champion"], match["challenger"], match["winner"]
        assert [champion, challenger] == line[:2], "the first two in line meet"
        assert (match["champion_wins"] > match["challenger_wins"]) == (winner == champion)
        assert (match["champion_wins"] < match["challenger_wins"]) == (winner == challenger)
        loser = champion if winner == challenger else challenger
        line.remove(loser)
        retired.append(loser)
        n_beaten = {champion: n_beaten + 1, challenger: 1, None: n_beaten}[winner]
        if n_beaten == STREAK:
            promoted.append(line.pop(0))
            n_beaten = 0
    assert len(line) < 2, "all play until nobody is left to play with"
    left = decisions.filter(from_stage=ARENA)
    assert left.filter(to_stage=SANDBOX)["model"].to_list() == promoted
    assert left.filter(to_stage=RETIRED)["model"].to_list() == retired
    assert promoted, "nobody has won a match"


def test_matches_are_played_on_bars_that_neither_side_was_trained_on(ask, matches):
    windows = ask("select * from arena.windows")
    trained_until = ask("select max(train_end_utc) from lab.studies where kind = 'training'").item()
    assert len(windows) == 3 * len(matches)
    assert windows["from_utc"].min() >= trained_until
    assert windows["to_utc"].max() <= DECIDED - timedelta(days=4)
    assert set(windows["to_utc"] - windows["from_utc"]) == {timedelta(days=1)}


def test_who_rose_passed_an_audit_before(ask, decisions):
    rose = decisions.filter(to_stage=SANDBOX).select("study", "trial").rows()
    audited = ask("select study, trial, bool_and(passed is not false) as passed from lab.audits group by all")
    assert set(rose) <= set(audited.filter("passed").select("study", "trial").rows())


def test_the_holdout_is_opened_after_the_arena_and_every_candidate_judged_on_it(ask):
    opened = ask("select * from lab.holdouts")
    assert opened["n_models"].sum() == N_CANDIDATES
    assert (opened["from_utc"] == DECIDED - timedelta(days=4)).all()
    judged = ask("select study, trial from lab.evaluations where scope = 'holdout' and trial >= 0")
    assert len(judged) == N_CANDIDATES
    verdicts = ask("select * from lab.overfitting")
    assert set(verdicts["benchmark"]) == {"cash", "buy_and_hold"}
    assert set(verdicts["verdict"]) == {"nothing here"}  # a few days are too few to tell


def test_nobody_shares_production(decisions):
    stage_of = {}
    for decision in decisions.iter_rows(named=True):
        assert stage_of.get(decision["model"]) == decision["from_stage"]
        stage_of[decision["model"]] = decision["to_stage"]
        assert list(stage_of.values()).count(PRODUCTION) <= 1
    assert list(stage_of.values()).count(PRODUCTION) == 1


def test_a_promoted_model_spends_its_two_days_in_the_sandbox_first(decisions):
    entered = decisions.filter(to_stage=SANDBOX)
    assert set(entered["decided_at_utc"]) == {DECIDED}
    judged = decisions.filter(from_stage=SANDBOX)
    assert set(judged["decided_at_utc"]) == {STEPS[0]}
    assert set(judged["model"]) == set(entered["model"])


def test_every_time_in_the_warehouse_is_of_the_market_and_none_of_the_wall_clock(ask, decisions, matches):
    later = {
        f"{file.full_name}.{column.name}"
        for file in schema().contracts.values()
        for column in file.table.columns
        if column.type == "TIMESTAMP"
        and ask(f"select count(*) from {file.full_name} where {column.name} > $end", end=END).item()
    }
    assert later == set()
    assert set(matches["played_at_utc"]) == {DECIDED}
    assert set(decisions["decided_at_utc"]) <= {DECIDED, *STEPS}
    assert set(ask("select checked_at_utc from ops.data_quality").to_series()) == {DECIDED, *STEPS}


def test_paper_accounts_trade_the_held_back_bars_without_a_hole(ask):
    equity = ask("select * from desk.equity order by study, trial, closed_at_utc")
    trained_on = ask("select distinct interval from lab.trials where study like 'training-%'").item()
    length = Interval(trained_on).duration
    for _, bars in equity.group_by("study", "trial"):
        times = bars["closed_at_utc"]
        assert times.min() == DECIDED + length, "the first decision is that of the promotion"
        assert set(times.diff().drop_nulls()) <= {length}
        assert bars["stage"].to_list() == sorted(bars["stage"], reverse=True), "sandbox first, then production"
    ended = ask("select traded_until_utc from desk.accounts join promotion.production using (study, trial)").item()
    assert ended == END
    assert ask("select max(data_end_utc) from lab.studies").item() <= equity["closed_at_utc"].min()


def test_the_accounts_books_balance(ask):
    books = ask(
        """
        with filled as (
            select study, trial, sum(fee_usd) as fee_usd, sum(slippage_usd) as slippage_usd
            from desk.fills group by all
        )

        select desk.performance.fee_usd - coalesce(filled.fee_usd, 0) as fee_usd,
            desk.performance.slippage_usd - coalesce(filled.slippage_usd, 0) as slippage_usd,
            total_return_frac - (value_usd / 10000 - 1) as return_frac
        from desk.performance left join filled using (study, trial)
        """
    )
    assert len(books) >= 1
    assert max(abs(figure) for row in books.iter_rows() for figure in row) < 1e-9


def test_baselines_stand_beside_production_on_the_same_bars(life, ask, production):
    paper = ask("select * from lab.evaluations where scope = 'paper'")
    assert set(paper["subject"]) == {"agent", *BASELINES}
    assert len(paper) == 1 + len(BASELINES)
    assert paper.select("from_utc", "to_utc", "n_bars", "interval", "paper_of").n_unique() == 1
    agent = paper.filter(subject="agent")
    account = ask("from desk.performance where study || '/' || trial = $model", model=production)
    assert agent["total_return_frac"].item() == pytest.approx(account["total_return_frac"].item())
    assert agent["alpha_frac"].item() == pytest.approx(account["alpha_frac"].item())
    assert agent["fees_usd"].item() == pytest.approx(account["fee_usd"].item())
    assert {row["subject"] for row in life.outcome["production"]} == {production, *BASELINES}


def test_baselines_stand_beside_the_agents_in_the_leaderboard(ask):
    leaderboard = ask("from lab.leaderboard")
    for (study,), ranks in leaderboard.group_by("study"):
        assert set(ranks.filter(is_baseline=True)["subject"]) == set(BASELINES), study
    training = ask("from lab.leaderboard where study like 'training-%'")
    assert training.filter(is_baseline=False)["subject"].n_unique() == N_TRIALS
    assert set(training["n_folds"]) == {2}
    assert set(training.filter(is_baseline=False)["family"]) <= {"ppo", "apg"}
    assert training["holdout_sharpe_annualized"].null_count() == 0


def test_the_bars_passed_their_checks_before_each_step(ask):
    errors = ask("select checked_at_utc, passed from ops.data_quality where severity = 'error'")
    assert errors["checked_at_utc"].n_unique() == 3
    assert errors["passed"].all()


def test_every_table_fulfils_its_contract(life):
    with life.warehouse.read() as reader:
        results = [result for file in schema().files for result in run_tests(reader, file)]
    assert len(results) > 50
    assert [(result.table, result.name, result.sample) for result in results if not result.passed] == []


def test_the_report_names_production_and_says_that_the_market_is_simulated(life, production):
    page = (life.folder / "report.html").read_text()
    assert life.outcome["report"] == str(life.folder / "report.html")
    assert production in page
    assert "simulated market" in page.lower()
    assert "SIMULATED market" in life.said
    assert life.outcome["simulated"] is True


def test_the_published_copy_holds_what_the_warehouse_holds(life, ask):
    copy = Warehouse(life.folder / "published.duckdb")
    for table in schema().contracts:
        assert copy.query(f"select count(*) from {table}").item() == ask(f"select count(*) from {table}").item(), table


def test_dagster_remembers_each_table_with_its_rows(life, ask):
    with dg.DagsterInstance.from_config(str(life.folder / ".dagster")) as instance:
        runs = instance.get_runs()
        seen = {
            table: instance.get_latest_materialization_event(dg.AssetKey(table.split(".")))
            for table in schema().models | schema().contracts
        }
    assert sorted(run.job_name for run in runs) == ["report", "trading", "trading", "whole_life"]
    assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
    missing = {table for table, event in seen.items() if event is None}
    outside = {table for table in seen if table.startswith("replay.")}
    assert missing == set(DEPS) | outside, "only these are written beside others, or by commands"
    for table in ("desk.equity", "promotion.decisions", "market.bars_all"):
        counted = seen[table].asset_materialization.metadata["dagster/row_count"].value
        assert counted == ask(f"select count(*) from {table}").item(), table


def test_the_same_run_again_changes_nothing(another_life, cappuccino):
    """Searches find their studies complete, matches and bars are there; only the record of looking grows."""
    tables = [table for table in schema().contracts if not table.startswith("ops.")]
    before = _contents(another_life.warehouse, tables)
    done = cappuccino("run", "--json", *another_life.options)
    assert done.exit_code == 0, done.stderr
    after = _contents(another_life.warehouse, tables)
    for table in tables:
        assert_frame_equal(before[table], after[table], check_row_order=False)
    assert another_life.warehouse.query("select count(*) from ops.syncs").item() == 2 * 3


def _contents(warehouse: Warehouse, tables: list[str]) -> dict[str, pl.DataFrame]:
    with warehouse.read() as reader:
        # The copy has another path in its settings; the version changes with every edit, even while tests run.
        names = ("code_version", "settings")
        return {table: reader.query(f"from {table}").drop(names, strict=False) for table in tables}
