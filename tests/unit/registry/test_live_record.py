"""The gates before real money, each closed alone."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cappuccino.errors import ContractError, StageError
from cappuccino.registry import moves
from cappuccino.registry.green_light import green_light
from cappuccino.registry.live_record import (
    Permission,
    confirmation_reasons,
    live_permission,
    live_reasons,
    read_confirmations,
    read_live_values,
    read_paper_figures,
    revocations,
)
from cappuccino.registry.record import decide, read_book
from cappuccino.registry.stages import StageBook
from cappuccino.settings import Settings, load
from cappuccino.store.warehouse import Warehouse
from tests.unit.small_live import (
    ACCOUNT,
    CAME,
    DAY,
    GREEN,
    HOUR,
    MODEL,
    NOW,
    alarm,
    confirm,
    gaining,
    live_settings,
    put_in_production,
    put_live,
    put_live_without_gates,
    spoil_figures,
    trade,
)

NAN = float("nan")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return live_settings(tmp_path)


@pytest.fixture(scope="module")
def production_file(tmp_path_factory: pytest.TempPathFactory, first_file: Path) -> Path:
    file = Path(shutil.copy(first_file, tmp_path_factory.mktemp("production")))
    put_in_production(Warehouse(file))
    trade(Warehouse(file), gaining(96))
    return file


@pytest.fixture(scope="module")
def live_file(tmp_path_factory: pytest.TempPathFactory, production_file: Path) -> Path:
    file = Path(shutil.copy(production_file, tmp_path_factory.mktemp("live")))
    put_live(Warehouse(file))
    confirm(Warehouse(file), NOW + HOUR)
    return file


@pytest.fixture
def production(tmp_path: Path, production_file: Path) -> Warehouse:
    """With two green days on paper."""
    return Warehouse(Path(shutil.copy(production_file, tmp_path)))


@pytest.fixture
def live(tmp_path: Path, live_file: Path) -> Warehouse:
    """With the model live and step 1 confirmed."""
    return Warehouse(Path(shutil.copy(live_file, tmp_path)))


def permission(
    warehouse: Warehouse, settings: Settings, account: str = ACCOUNT, at: Any = NOW + 2 * HOUR
) -> Permission | list[str]:
    with warehouse.read() as reader:
        return live_permission(reader, settings, at, account)


def figures(warehouse: Warehouse, settings: Settings, at: Any = NOW) -> Any:
    with warehouse.read() as reader:
        return read_paper_figures(reader, settings, at)


# The permission


def test_every_gate_open_is_a_permission_for_one_model_and_so_much(live: Warehouse, settings: Settings) -> None:
    assert permission(live, settings) == Permission(MODEL, 100.0)


def test_nothing_is_live_by_default(new_warehouse: Warehouse, tmp_path: Path) -> None:
    file = tmp_path / "empty.toml"
    file.write_text("")
    assert permission(new_warehouse, load(file, {"warehouse": tmp_path})) == [
        "profile: it is demo, not live",
        "switch: live.enabled is false",
        "market: market.source is simulated",
        "model: none is live",
        f"confirmation: the operator has confirmed no capital on account {ACCOUNT}",
    ]


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        ({"profile": "paper", "live": {}}, ["profile: it is paper, not live", "switch: live.enabled is false"]),
        ({"live": {}}, ["switch: live.enabled is false"]),
        ({"market": {"source": "simulated"}}, ["market: market.source is simulated"]),
    ],
)
def test_each_switch_closes_the_gate_alone(
    live: Warehouse, tmp_path: Path, groups: dict[str, Any], reason: list[str]
) -> None:
    assert permission(live, live_settings(tmp_path, **groups)) == reason


def test_a_model_in_production_is_not_live(production: Warehouse, settings: Settings) -> None:
    found = permission(production, settings)
    assert isinstance(found, list)
    assert found[0] == "model: none is live"


@pytest.mark.parametrize("account", ["another", "", ACCOUNT.upper()])
def test_another_account_is_not_confirmed(live: Warehouse, settings: Settings, account: str) -> None:
    found = permission(live, settings, account)
    assert found == [f"confirmation: the operator has confirmed no capital on account {account or 'unknown'}"]


def test_a_confirmation_of_before_the_model_went_live_does_not_count(production: Warehouse, settings: Settings) -> None:
    put_live(production)
    confirm(production, NOW - HOUR)
    assert isinstance(permission(production, settings), list)


def test_a_model_that_comes_back_has_to_be_confirmed_anew(live: Warehouse, settings: Settings) -> None:
    decide(live, lambda book: moves.demote(book, MODEL, NOW + 2 * HOUR, "weak"))
    assert isinstance(permission(live, settings), list)
    put_live(live, NOW + 3 * HOUR)
    assert isinstance(permission(live, settings, at=NOW + 4 * HOUR), list)
    confirm(live, NOW + 4 * HOUR)
    assert permission(live, settings, at=NOW + 5 * HOUR) == Permission(MODEL, 100.0)


def test_a_confirmation_that_is_still_to_come_does_not_count(live: Warehouse, settings: Settings) -> None:
    (reason,) = permission(live, settings, at=NOW)  # type: ignore[misc]
    assert "which is still to come" in str(reason)


def test_a_decision_without_the_figures_of_a_green_light_opens_nothing(
    production: Warehouse, settings: Settings
) -> None:
    put_live_without_gates(production, alpha_frac=9.0)
    confirm(production, NOW + HOUR)
    assert permission(production, settings) == [
        f"model: the decision that put {MODEL} live has not the figures of a green light"
    ]


@pytest.mark.parametrize("name", sorted(asdict(GREEN)))
def test_a_figure_that_is_missing_closes_the_gate(settings: Settings, name: str) -> None:
    figures = {key: float(value) for key, value in asdict(GREEN).items() if key != name}
    assert live_reasons(_live_book(figures), settings) == [
        f"model: the decision that put {MODEL} live has not the figures of a green light"
    ]


def test_with_a_figure_that_is_no_number_nobody_knows_who_may_trade(live: Warehouse, settings: Settings) -> None:
    spoil_figures(live, "alpha_frac", NAN)
    with pytest.raises(StageError, match="promote of training-1/3 compares alpha_frac, which is no number"):
        permission(live, settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("days", 1.9),
        ("alpha_frac", 0.0),
        ("sharpe_annualized", 0.1),
        ("max_drawdown_frac", 0.15),
        ("n_critical_errors", 0.5),
        ("is_simulated", 1.0),
    ],
)
def test_figures_that_are_not_green_close_the_gate(settings: Settings, name: str, value: float) -> None:
    figures = {key: float(figure) for key, figure in asdict(GREEN).items()}
    assert live_reasons(_live_book(figures), settings) == []
    found = live_reasons(_live_book({**figures, name: value}), settings)
    assert [reason.startswith(f"green light of {MODEL}: ") for reason in found] == [True]


def _live_book(figures: dict[str, float]) -> StageBook:
    """Return a book whose model is live by a decision with these figures."""
    book = StageBook().apply(*moves.enter(StageBook(), MODEL, CAME, "candidate"))
    for _ in range(2):
        book = book.apply(*moves.promote(book, MODEL, CAME, "won"))
    return book.apply(*moves.promote_to_live(book, NOW, "trust me", figures))


def test_a_stricter_gate_closes_on_a_model_that_is_live_already(live: Warehouse, tmp_path: Path) -> None:
    strict = live_settings(tmp_path, live={"enabled": True, "min_sharpe": 1.5})
    assert permission(live, strict) == [f"green light of {MODEL}: sharpe: 1.000 is not above 1.500"]


def test_a_rule_cannot_put_a_model_live(live: Warehouse, settings: Settings) -> None:
    with live.write() as writer:
        writer.execute("update promotion.decisions set decided_by = 'rule' where to_stage = 'live'")
    assert permission(live, settings) == [f"model: {MODEL} did not come from production by the operator's decision"]


def test_with_a_damaged_record_of_decisions_nobody_knows_who_may_trade(live: Warehouse, settings: Settings) -> None:
    with live.write() as writer:
        writer.execute("delete from promotion.decisions where sequence = 2")
    with pytest.raises(StageError, match="the record of decisions is damaged"):
        permission(live, settings)


def test_a_lower_setting_counts_at_once_and_a_higher_one_has_to_be_confirmed(live: Warehouse, tmp_path: Path) -> None:
    for steps, money in (((50.0, 60.0), 50.0), ((100.0,), 100.0), ((5_000.0,), 100.0)):
        changed = live_settings(tmp_path, live={"enabled": True, "capital_steps_usd": steps})
        assert permission(live, changed) == Permission(MODEL, money)


def test_a_step_that_the_settings_have_no_more_closes_the_gate(live: Warehouse, tmp_path: Path) -> None:
    confirm(live, NOW + 2 * HOUR, step=2)
    shorter = live_settings(tmp_path, live={"enabled": True, "capital_steps_usd": (100.0,)})
    assert permission(live, shorter, at=NOW + 3 * HOUR) == [
        "confirmation: live.capital_steps_usd has no step 2 any more"
    ]


# Confirmations


def test_confirmations_are_kept_in_their_order_and_taken_back_by_one_more(live: Warehouse, settings: Settings) -> None:
    confirm(live, NOW + HOUR, account="other")
    with live.read() as reader:
        made = revocations(reader, ACCOUNT, NOW + 2 * HOUR, "holidays")
        assert len(revocations(reader, None, NOW + 2 * HOUR, "all")) == 2
    assert [(each.account_id, each.step, each.capital_usd, each.reason) for each in made] == [
        (ACCOUNT, 0, 0.0, "holidays")
    ]
    confirm(live, NOW + 2 * HOUR, step=0)
    assert isinstance(permission(live, settings), list)
    with live.read() as reader:
        assert [each.step for each in read_confirmations(reader)] == [1, 1, 0]
        assert [each.account_id for each in revocations(reader, None, NOW, "again")] == ["other"]


def test_a_confirmation_needs_a_reason_and_the_model_that_is_live(live: Warehouse) -> None:
    with pytest.raises(StageError, match="needs a reason"):
        confirm(live, NOW, reason=" ")
    with pytest.raises(StageError, match="training-1/4 is not live any more"):
        confirm(live, NOW, model=replace(MODEL, trial=4))
    with live.read() as reader:
        assert len(read_confirmations(reader)) == 1


def test_two_confirmations_never_share_a_place(live: Warehouse) -> None:
    row = live.query("select * from promotion.live_confirmations")
    with pytest.raises(ContractError), live.write() as writer:
        writer.append("promotion.live_confirmations", row)


def test_the_next_step_needs_the_live_accounts_own_record(live: Warehouse, settings: Settings) -> None:
    later = NOW + HOUR + 7 * DAY
    with live.read() as reader:
        assert confirmation_reasons(reader, read_book(reader), settings, later, ACCOUNT, 2) == [
            "profit: the account has no value since step 1 was confirmed"
        ]
    trade(live, [100.0 + n / 100 for n in range(1, 7 * 24 + 1)], stage="live", opened=NOW + HOUR)
    with live.read() as reader:
        values = read_live_values(reader, MODEL, NOW + HOUR, later)
        assert (len(values), values[0].usd, values[-1].at) == (168, 100.01, later)
        assert confirmation_reasons(reader, read_book(reader), settings, later, ACCOUNT, 2) == []
        assert confirmation_reasons(reader, read_book(reader), settings, later - HOUR, ACCOUNT, 2) != []


# Paper figures


def test_the_figures_are_those_of_the_newest_two_days_in_production(production: Warehouse, settings: Settings) -> None:
    found = figures(production, settings)
    values = gaining(96)
    assert found.days == 2.0
    assert found.alpha_frac == pytest.approx(values[-1] / values[-49] - 1, rel=1e-12)
    assert found.sharpe_annualized > 1
    assert 0 < found.max_drawdown_frac < 0.01
    assert (found.n_critical_errors, found.is_simulated) == (0, False)
    assert green_light(found, settings.live) == []


def test_time_before_production_is_not_counted(new_warehouse: Warehouse, settings: Settings) -> None:
    put_in_production(new_warehouse)
    trade(new_warehouse, gaining(24 + 30))
    assert figures(new_warehouse, settings, CAME + 30 * HOUR).days == 30 / 24


def test_critical_alerts_of_that_time_are_counted(production: Warehouse, settings: Settings) -> None:
    alarm(production, NOW - HOUR)
    alarm(production, NOW - HOUR, "warning")
    alarm(production, NOW - HOUR, is_resolved=True)
    alarm(production, NOW - 3 * DAY)
    assert figures(production, settings).n_critical_errors == 1


def test_invented_bars_are_told(new_warehouse: Warehouse, settings: Settings, tmp_path: Path) -> None:
    put_in_production(new_warehouse, is_simulated=True)
    trade(new_warehouse, gaining(96))
    assert figures(new_warehouse, settings).is_simulated


def test_a_feed_of_invented_bars_is_told(production: Warehouse, tmp_path: Path) -> None:
    assert figures(production, live_settings(tmp_path, market={"source": "simulated"})).is_simulated


def test_without_production_record_or_freshness_there_are_no_figures(
    new_warehouse: Warehouse, settings: Settings
) -> None:
    with pytest.raises(StageError, match="no model is in production"):
        figures(new_warehouse, settings)
    put_in_production(new_warehouse)
    with pytest.raises(StageError, match="has not traded a bar on paper yet"):
        figures(new_warehouse, settings)
    trade(new_warehouse, gaining(96))
    with pytest.raises(StageError, match="too old to go live on"):
        figures(new_warehouse, settings, NOW + 3 * HOUR)


@pytest.mark.parametrize("value", [NAN, float("inf"), 0.0])
def test_a_value_that_is_no_positive_number_gives_no_figures(
    production: Warehouse, settings: Settings, value: float
) -> None:
    with production.write() as writer:
        writer.execute("update desk.equity set benchmark_usd = $v where closed_at_utc = $at", v=value, at=NOW - HOUR)
    with pytest.raises(StageError, match="no positive number"):
        figures(production, settings)


def test_the_live_accounts_own_bars_are_no_paper(production: Warehouse, settings: Settings) -> None:
    rows = production.query("select * from desk.equity order by closed_at_utc desc limit 1")
    moved = rows.with_columns(
        stage=pl.lit("live"),
        value_usd=pl.lit(1.0),
        closed_at_utc=pl.col("closed_at_utc") + timedelta(minutes=30),
    )
    with production.write() as writer:
        writer.append("desk.equity", moved)
    assert figures(production, settings, NOW + HOUR).max_drawdown_frac < 0.01
