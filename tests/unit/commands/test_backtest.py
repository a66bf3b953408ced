"""`cappuccino backtest`: what it prints, stores and refuses."""

from __future__ import annotations

import json

import pytest

from cappuccino.validation.baselines import BASELINES


@pytest.fixture
def call(with_one_model):
    """Call the command on a warehouse with one model."""
    return with_one_model("backtest", "--permutations", "5", holdout_days=0)


def test_a_model_is_shown_beside_the_baselines_with_p_values_attribution_and_months(call, tmp_path):
    done = call("training-1/3")
    assert done.exit_code == 0, done.stderr
    for part in (*BASELINES, "training-1/3", "random_timing", "p sharpe", "selection", "ETH/USD", "Apr return"):
        assert part in done.stdout, part
    assert "(simulated market)" in done.stdout
    assert "on none of the bars of this range" in done.stdout
    assert "training-1/3: " in done.stderr
    (page,) = (tmp_path / "backtests").glob("training-1-3-*.html")
    assert str(page) in done.stdout


def test_the_json_has_every_figure_and_stdout_nothing_else(call, full_warehouse):
    done = call("training-1/3", "--from", "2025-04-02", "--to", "2025-04-12", "--json", "--no-page")
    assert done.exit_code == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["page"] is None
    assert shown["from_utc"] == "2025-04-02T00:00:00+00:00"
    assert {row["subject"] for row in shown["measures"]} == {"training-1/3", *BASELINES}
    assert shown["timing"][0]["way"] == "random_timing"
    gain = shown["measures"][0]["total_return_frac"]
    assert sum(row["return_contribution_frac"] for row in shown["by_factor"]) == pytest.approx(gain)
    assert [row["month"] for row in shown["by_month"]] == [4]
    assert full_warehouse.query("select backtest from lab.backtests").item() == shown["backtest"]


def test_another_cost_is_another_backtest(call):
    asked = ("equal_weight", "--from", "2025-04-02", "--json", "--no-page")
    paid, free = (json.loads(call(*asked, "--cost", f"fee_bps={bps}").stdout) for bps in (25, 0))
    assert paid["backtest"] != free["backtest"]
    assert free["measures"][0]["fees_usd"] == 0 < paid["measures"][0]["fees_usd"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nobody",), 2, "nobody is called 'nobody'"),
        (("cash", "--cost", "fee_bps"), 2, "not KEY=NUMBER"),
        (("cash", "--cost", "fees=1"), 2, "costs.fees"),
        (("cash", "--interval", "7m"), 2, "no interval '7m'"),
        (("cash", "--from", "2025-04-10", "--to", "2025-04-01"), 2, "has no length"),
        (("training-1/3", "--from", "2025-03-02"), 1, "choose --from"),
    ],
)
def test_what_cannot_be_tested_is_refused_in_a_sentence(call, arguments, code, said):
    done = call(*arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr
