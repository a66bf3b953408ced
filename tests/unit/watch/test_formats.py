from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cappuccino.watch import formats

SPACE = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        ("max_drawdown_frac", 0.0312, f"3.12{SPACE}%"),
        ("total_return_frac", 0.0312, f"+3.12{SPACE}%"),
        ("alpha_frac", -0.5, f"-50.00{SPACE}%"),
        ("value_usd", 10_147.6, "10,147.60"),
        ("realized_pnl_usd", 3.0, "+3.00"),
        ("sharpe_annualized", 1.2345, "1.23"),
        ("profit_factor", float("inf"), "∞"),
        ("calmar", float("-inf"), "-∞"),
        ("n_trials", 12_345, "12,345"),
        ("trades_per_month", 88.42, "88.4"),
        ("figure", 0.00831234, "0.008312"),
        ("p_return", 0.004975, "0.005"),
        ("alpha_t", 1.968, "+1.97"),
        ("pbo", 0.17611, "0.18"),
        ("score", None, "–"),
        ("score", float("nan"), "–"),
        ("is_winner", True, "yes"),
        ("is_winner", False, "no"),
        ("since_utc", datetime(2025, 6, 30, 12, 5, 59, tzinfo=UTC), "2025-06-30 12:05"),
        ("symbols", ["BTC/USD", "ETH/USD"], "BTC/USD, ETH/USD"),
        ("reason", "because", "because"),
    ],
)
def test_a_column_name_says_how_its_values_are_shown(column: str, value: object, shown: str) -> None:
    assert formats.text(column, value) == shown


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("max_drawdown_frac", "max drawdown"),
        ("decided_at_utc", "decided"),
        ("n_complete", "complete"),
        ("fees_usd", "fees (USD)"),
        ("sharpe_annualized", "sharpe"),
        ("is_winner", "winner"),
    ],
)
def test_headings_are_words_without_the_unit_of_the_column(column: str, words: str) -> None:
    assert formats.heading(column) == words


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        (timedelta(days=3, hours=12), "3.5 days"),
        (timedelta(hours=2), "2.0 hours"),
        (timedelta(minutes=90), "90.0 minutes"),
        (timedelta(seconds=12), "12 seconds"),
    ],
)
def test_an_age_is_told_in_its_largest_unit(length: timedelta, shown: str) -> None:
    assert formats.age(length) == shown


@given(st.sampled_from(["x_frac", "x_usd", "alpha_frac", "sharpe", "x_per_day", "x"]), st.floats() | st.integers())
@hypothesis_settings(max_examples=100, deadline=None, derandomize=True)
def test_every_number_has_a_short_text_on_one_line(column: str, value: float) -> None:
    shown = formats.text(column, value)
    assert shown
    assert "\n" not in shown
    assert "nan" not in shown and "inf" not in shown


@given(st.floats(allow_nan=False, allow_infinity=False))
@hypothesis_settings(max_examples=100, deadline=None, derandomize=True)
def test_only_gains_are_up_and_only_losses_are_down(value: float) -> None:
    expected = "up" if value > 0 else "down" if value < 0 else ""
    assert formats.tone("total_return_frac", value) == expected
    assert (
        formats.tone("max_drawdown_frac", value)
        == formats.tone("p_return", value)
        == formats.tone("alpha_t", value)
        == ""
    )
