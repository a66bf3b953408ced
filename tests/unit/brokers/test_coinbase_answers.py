"""Coinbase's answers put into our words: what is believed, and what is refused to be read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cappuccino.brokers import coinbase_answers as answers
from cappuccino.brokers.broker import Refusal, Refused, Side, VenueState

NOW = datetime(2026, 11, 20, 10, 1, tzinfo=UTC)
ORDER: dict[str, Any] = {
    "order_id": "o-1",
    "client_order_id": "c-1",
    "product_id": "BTC-USD",
    "side": "SELL",
    "status": "FILLED",
    "order_configuration": {"limit_limit_gtc": {"base_size": "0.5", "limit_price": "60000", "post_only": True}},
    "filled_size": "0.5",
    "average_filled_price": "60000.5",
    "total_fees": "180.0015",
    "settled": True,
    "created_time": "2026-11-20T10:00:00.123456789Z",
    "last_fill_time": None,
    "reject_reason": "REJECT_REASON_UNSPECIFIED",
}
PRODUCT: dict[str, Any] = {
    "product_id": "BTC-USD",
    "base_increment": "0.00000001",
    "quote_increment": "0.01",
    "base_min_size": "0.00000001",
    "quote_min_size": "1",
    "base_max_size": "",
}


def changed(source: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**source, **fields}


def test_an_order_in_our_words() -> None:
    report = answers.order_report(ORDER, NOW)
    assert (report.client_id, report.venue_id, report.symbol, report.side) == ("c-1", "o-1", "BTC/USD", Side.SELL)
    assert (report.state, report.units, report.filled_units) == (VenueState.FILLED, Decimal("0.5"), Decimal("0.5"))
    assert (report.average_usd, report.fee_usd, report.is_maker) == (Decimal("60000.5"), Decimal("180.0015"), True)
    assert report.reason == ""
    assert report.updated_at is not None
    assert f"{report.updated_at:%F %T}" == "2026-11-20 10:00:00"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("PENDING", VenueState.PENDING),
        ("QUEUED", VenueState.PENDING),
        ("OPEN", VenueState.OPEN),
        ("CANCEL_QUEUED", VenueState.OPEN),
        ("CANCELLED", VenueState.CANCELED),
        ("EXPIRED", VenueState.EXPIRED),
        ("FAILED", VenueState.REJECTED),
    ],
)
def test_every_word_for_a_state_is_known(status: str, state: VenueState) -> None:
    assert answers.order_report(changed(ORDER, status=status), NOW).state is state


def test_an_order_before_its_first_fill_may_have_empty_sums() -> None:
    fresh = changed(ORDER, status="OPEN", filled_size="", average_filled_price="", total_fees="")
    report = answers.order_report(fresh, NOW)
    assert (report.filled_units, report.average_usd, report.fee_usd, report.is_maker) == (0, 0, 0, None)


@pytest.mark.parametrize(
    ("filled", "settled", "state"),
    [
        ("0.5", False, VenueState.FILLED),
        ("0.4", False, VenueState.OPEN),
        ("0.4", None, VenueState.OPEN),
        ("0.4", True, VenueState.FILLED),
        ("0", True, VenueState.OPEN),
    ],
)
def test_filled_is_believed_when_the_sum_is_there(filled: str, settled: bool | None, state: VenueState) -> None:
    assert answers.order_report(changed(ORDER, filled_size=filled, settled=settled), NOW).state is state


@pytest.mark.parametrize(
    ("filled", "settled", "minutes", "state"),
    [
        ("0.4", None, 4, VenueState.OPEN),
        ("0.4", None, 6, VenueState.FILLED),
        ("0.4", False, 6, VenueState.FILLED),
        ("0", None, 6, VenueState.OPEN),
    ],
)
def test_filled_is_believed_some_minutes_after_the_last_fill(
    filled: str, settled: bool | None, minutes: int, state: VenueState
) -> None:
    order = changed(ORDER, filled_size=filled, settled=settled, last_fill_time="2026-11-20T10:01:00Z")
    assert answers.order_report(order, NOW + timedelta(minutes=minutes)).state is state


def test_an_average_that_is_missing_is_worked_out() -> None:
    assert (
        answers.order_report(changed(ORDER, average_filled_price="0", filled_value="30000"), NOW).average_usd == 60_000
    )


def test_the_reason_of_an_end_is_told_in_the_venues_words() -> None:
    ended = changed(ORDER, status="FAILED", reject_reason="INSUFFICIENT_FUND", reject_message="not enough")
    assert answers.order_report(ended, NOW).reason == "INSUFFICIENT_FUND; not enough"


@pytest.mark.parametrize(
    "field",
    [
        {"status": "HALF_OPEN"},
        {"side": "UNKNOWN_ORDER_SIDE"},
        {"order_id": ""},
        {"filled_size": "NaN"},
        {"filled_size": "-1"},
        {"filled_size": "Infinity"},
        {"filled_size": None},
        {"filled_size": True},
        {"average_filled_price": "dear"},
        {"average_filled_price": "0", "filled_value": "0"},
        {"total_fees": None},
        {"product_id": None},
    ],
)
def test_an_order_that_makes_no_sense_is_not_read(field: dict[str, Any]) -> None:
    with pytest.raises((ValueError, LookupError)):
        answers.order_report(changed(ORDER, **field), NOW)


@given(st.dictionaries(st.sampled_from(sorted(ORDER)), st.none() | st.text(max_size=4) | st.floats() | st.booleans()))
def test_whatever_comes_is_an_order_of_sound_numbers_or_a_value_error(fields: dict[str, Any]) -> None:
    try:
        report = answers.order_report(changed(ORDER, **fields), NOW)
    except (ValueError, LookupError):
        return
    numbers = (report.units, report.filled_units, report.average_usd, report.fee_usd)
    assert all(number.is_finite() and number >= 0 for number in numbers)
    assert not report.filled_units or report.average_usd > 0


@pytest.mark.parametrize(
    ("answer", "reason", "kind"),
    [
        (
            {"error_response": {"error": "INSUFFICIENT_FUND", "message": "Insufficient balance"}},
            "INSUFFICIENT_FUND; Insufficient balance",
            Refusal.FUNDS,
        ),
        (
            {
                "error_response": {
                    "error": "UNKNOWN_FAILURE_REASON",
                    "new_order_failure_reason": "INVALID_PRICE_PRECISION",
                }
            },
            "INVALID_PRICE_PRECISION",
            Refusal.PRECISION,
        ),
        (
            {"failure_reason": "INELIGIBLE_PAIR", "error_response": {}},
            "INELIGIBLE_PAIR",
            Refusal.NOT_TRADABLE,
        ),
        ({"failure_reason": {}}, "no reason given", Refusal.OTHER),
    ],
)
def test_a_refusal_says_why(answer: dict[str, Any], reason: str, kind: Refusal) -> None:
    assert answers.created({"success": False, **answer}, "c-1") == Refused(reason, kind)


@pytest.mark.parametrize("answer", [None, {}, [], {"success": None}, {"success": "true"}, {"success": True}])
def test_an_answer_that_does_not_say_what_became_of_an_order_is_no_refusal(answer: Any) -> None:
    with pytest.raises((ValueError, LookupError)):
        answers.created(answer, "c-1")


@pytest.mark.parametrize(
    "field",
    [
        {"base_increment": "0"},
        {"base_increment": None},
        {"quote_min_size": "x"},
        {"view_only": "no"},
        {"product_id": "X"},
    ],
)
def test_a_product_that_makes_no_sense_is_not_read(field: dict[str, Any]) -> None:
    with pytest.raises((ValueError, LookupError)):
        answers.instrument(changed(PRODUCT, **field), "BTC/USD")


def test_a_product_without_a_tick_of_its_own_has_that_of_its_quote_currency() -> None:
    found = answers.instrument(PRODUCT, "BTC/USD")
    assert (found.price_step, found.max_units, found.halted) == (Decimal("0.01"), None, "")
    assert answers.instrument(changed(PRODUCT, status="delisted"), "BTC/USD").halted == "status delisted"


@pytest.mark.parametrize("rate", ["0.9", "NaN", "-0.1", "", None])
def test_a_fee_that_nobody_takes_is_not_read(rate: Any) -> None:
    with pytest.raises((ValueError, LookupError)):
        answers.fee_tier({"fee_tier": {"maker_fee_rate": "0.004", "taker_fee_rate": rate}})


def test_a_wallet_that_two_pages_show_counts_once_and_a_vault_not_at_all() -> None:
    row = {"uuid": "u", "currency": "USD", "available_balance": {"value": "5", "currency": "USD"}}
    vault = {**row, "type": "ACCOUNT_TYPE_VAULT"}
    wallets = [wallet for each in (row, row, vault) if (wallet := answers.wallet(each))]
    assert answers.holdings(wallets, "USD").cash_usd == 5


@pytest.mark.parametrize("results", [[], [{"order_id": "other", "success": True}], [{"order_id": "o-1"}], None])
def test_an_answer_to_a_cancel_has_to_name_the_order(results: Any) -> None:
    with pytest.raises((ValueError, LookupError, TypeError)):
        answers.canceled({"results": results}, "o-1")


def test_a_cancel_that_is_under_way_already_is_no_failure() -> None:
    row = {"order_id": "o-1", "success": False, "failure_reason": "DUPLICATE_CANCEL_REQUEST"}
    assert answers.canceled({"results": [row]}, "o-1") == ""


def test_seconds_serve_where_milliseconds_are_missing() -> None:
    assert answers.unix_s({"epochSeconds": "1700000000"}) == 1_700_000_000
    assert answers.unix_s({"epochSeconds": "1700000000", "epochMillis": "1700000000250"}) == 1_700_000_000.25


def test_futures_are_not_of_the_spot_market() -> None:
    assert [answers.is_spot({"product_type": kind}) for kind in ("SPOT", None, "FUTURE")] == [True, True, False]
