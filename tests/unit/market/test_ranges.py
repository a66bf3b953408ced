"""What is left to ask for, checked against sets of single bars."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from cappuccino.market.interval import Interval
from cappuccino.market.ranges import Ask, Range, missing, pieces, without

START = datetime(2025, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)

hours = st.integers(0, 100)
ranges = st.tuples(hours, hours).map(lambda ends: (START + min(ends) * HOUR, START + max(ends) * HOUR))


def bars_in(parts: list[Range] | tuple[Range, ...]) -> list[datetime]:
    return [part[0] + n * HOUR for part in parts for n in range((part[1] - part[0]) // HOUR)]


@given(ranges, st.lists(ranges, max_size=6))
def test_what_is_left_is_what_nobody_covers_once_and_in_order(whole: Range, covered: list[Range]) -> None:
    expected = sorted(set(bars_in([whole])) - set(bars_in(covered)))
    assert bars_in(without(whole, covered)) == expected


@given(st.dictionaries(st.sampled_from("abc"), st.lists(ranges, max_size=4)), ranges)
def test_every_symbol_is_asked_for_exactly_its_missing_bars(covered: dict[str, list[Range]], whole: Range) -> None:
    asks = missing(("a", "b", "c"), whole, covered)
    for symbol in "abc":
        asked = [bar for ask in asks if symbol in ask.symbols for bar in bars_in([(ask.start, ask.stop)])]
        assert asked == bars_in(without(whole, covered.get(symbol, [])))


@given(ranges, st.integers(1, 400), st.integers(1, 5))
def test_pieces_add_up_and_keep_to_their_size(whole: Range, n_bars: int, n_symbols: int) -> None:
    ask = Ask(tuple("abcde"[:n_symbols]), *whole)
    cut = list(pieces(ask, Interval.H1, n_bars))
    assert bars_in([(piece.start, piece.stop) for piece in cut]) == bars_in([whole])
    assert all(piece.n_bars(Interval.H1) <= max(n_bars, n_symbols) for piece in cut)


def test_long_pieces_end_at_midnight() -> None:
    ask = Ask(("a", "b"), START + 7 * HOUR, START + 100 * HOUR)
    ends = [piece.stop for piece in pieces(ask, Interval.H1, 100)]
    assert ends == [START + 48 * HOUR, START + 96 * HOUR, START + 100 * HOUR]
