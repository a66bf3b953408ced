from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from cappuccino.errors import WarehouseError
from cappuccino.market.interval import Interval
from cappuccino.market.source import PRICES
from cappuccino.settings import Settings, load
from cappuccino.store.models import build
from cappuccino.store.schema import Schema
from cappuccino.store.warehouse import Warehouse
from cappuccino.watch.report import desk, lab, read_frames, record, render, write_report
from cappuccino.watch.report.frames import QUERIES, closes_interval
from cappuccino.watch.report.glossary import GLOSSARY
from cappuccino.watch.report.page import cell, grid

NOW = datetime(2025, 7, 1, tzinfo=UTC)
NOT_A_MEASURE = {"study", "trial", "subject", "scope", "fold", "paper_of", "interval", "from_utc", "to_utc", "n_bars"}


class Page(HTMLParser):
    """What a reader sees, and whatever the page refers to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.addresses, self.open_tags = "", [], []
        self._hidden = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden = tag in ("style", "title")
        self.addresses += [value or "" for name, value in attrs if name in ("src", "srcset", "href")]
        if tag not in ("meta", "img", "source"):
            self.open_tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False
        assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text += data


@pytest.fixture(scope="module")
def busy_html(busy_warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("report") / "deep" / "report.html"
    none = file.parent.parent / "none.toml"
    none.write_text("")
    assert write_report(busy_warehouse, load(none), NOW, file) == file
    assert [left.name for left in file.parent.iterdir()] == ["report.html"]
    return file.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def busy_page(busy_html: str) -> Page:
    return Page(busy_html)


def test_the_page_needs_nothing_from_outside(busy_page: Page, busy_html: str) -> None:
    outside = [a for a in busy_page.addresses if not a.startswith(("data:image/png;base64,", "#"))]
    assert outside == []
    assert "@import" not in busy_html and "url(" not in busy_html and "<script" not in busy_html


def test_every_tag_is_closed_and_every_link_has_a_target(busy_page: Page, busy_html: str) -> None:
    assert busy_page.open_tags == []
    for address in busy_page.addresses:
        if address.startswith("#"):
            assert f'id="{address[1:]}"' in busy_html


def test_pictures_come_in_a_light_and_a_dark_dress(busy_html: str) -> None:
    light = re.findall(r'<img [^>]*src="(data:[^"]+)"', busy_html)
    dark = re.findall(r'<source media="\(prefers-color-scheme: dark\)" srcset="(data:[^"]+)"', busy_html)
    assert len(light) == len(dark) == 12
    assert not set(light) & set(dark)


def test_a_simulated_market_is_said_at_the_top(busy_page: Page) -> None:
    assert "Simulated market." in busy_page.text.partition("Stages")[0]


def test_simulated_bars_are_named_even_after_the_source_was_changed(
    busy_warehouse: Warehouse, first_day: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "files.toml"
    file.write_text('profile = "paper"\n[market]\nsource = "files"\npath = "bars.parquet"\n')
    frames = read_frames(first_day, settings)
    simulated = busy_warehouse.query("select * from market.freshness")
    assert "Simulated market." in render({**frames, "freshness": simulated}, load(file), NOW)
    real = simulated.with_columns(source=pl.lit("files"))
    assert "imulated market" not in render({**frames, "freshness": real}, load(file), NOW)


def test_production_stands_beside_the_baselines_of_the_same_bars(busy_warehouse: Warehouse, settings: Settings) -> None:
    section = desk.production(read_frames(busy_warehouse, settings), simulated=True)
    table = section.grids[0]
    names = [row[0].text for row in table.rows]
    assert names[0] == "training-20250625/3"
    assert set(names[1:]) == {"buy_and_hold", "momentum", "mean_reversion", "sixty_forty", "random_entry", "cash"}
    assert table.marked == {0}
    assert any("mostly chance" in sentence for sentence in section.sentences)


def test_the_page_tells_stages_verdicts_matches_and_checks(busy_page: Page) -> None:
    for said in (
        "1 in production, 1 in sandbox, 17 in arena; 1 retired.",
        "2.0 days in the sandbox: -0.40 % against +2.13 %",
        "20 models entered the arena",
        "1 wait, 15 are eliminated for good, 3 left by promotion or retirement.",
        "15 matches, the newest first",
        "1h bars with a lookback of 24 won; training uses them.",
        "3 of 24 trials collapsed on validation bars: 1 never traded, 2 wanted the same on every bar.",
        "0 checks fail and block what follows, 1 warn.",
        "UNI/USD: hole of 2 bars (2.0 h) after 2025-05-09 03:00 UTC",
        "last absent",
        "arena.streak",
    ):
        assert said in busy_page.text


def test_collapsed_trials_stand_out_among_those_that_learned(busy_warehouse: Warehouse, settings: Settings) -> None:
    frames = read_frames(busy_warehouse, settings)
    table = lab.learning(frames, simulated=True).grids[0]
    rows = (*table.rows, *table.folded)
    assert [rows[i][0].text for i in sorted(table.marked)] == ["14", "5", "9"]
    decided = frames["figures"].with_columns(collapsed=pl.lit(None, pl.String))
    sentences = lab.learning({**frames, "figures": decided}, simulated=True).sentences
    assert sentences[0].startswith("No policy has collapsed")


def test_the_first_day_s_page_says_honestly_what_is_missing(
    first_day: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    text = Page(write_report(first_day, settings, NOW, tmp_path / "r.html").read_text()).text
    for said in (
        "No model exists yet: nothing has been trained.",
        "No model has reached production yet.",
        "No account has traded yet.",
        "No model has left the sandbox yet.",
        "Nothing has been decided yet.",
        "Nobody has entered the arena yet.",
        "No training trial has been completed yet.",
        "No holdout has been opened yet",
        "No timeframe search has begun yet.",
        "No study has begun yet.",
        "No bars have been synced yet.",
    ):
        assert said in text


def partly_empty(busy: Warehouse, settings: Settings) -> Iterator[tuple[str, dict[str, pl.DataFrame]]]:
    frames = read_frames(busy, settings)
    for name, frame in frames.items():
        yield name, {**frames, name: frame.clear()}


def test_no_single_empty_table_breaks_a_section(busy_warehouse: Warehouse, settings: Settings) -> None:
    from cappuccino.watch.report.write import sections, tiles

    n_tried = 0
    for _, frames in partly_empty(busy_warehouse, settings):
        assert len(list(sections(frames, settings))) == 14
        assert list(tiles(frames, NOW))
        n_tried += 1
    assert n_tried == len(read_frames(busy_warehouse, settings))


def test_a_report_that_fails_leaves_the_old_one(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text("old")
    with pytest.raises(WarehouseError):
        write_report(Warehouse(tmp_path / "missing.duckdb"), settings, NOW, file)
    assert file.read_text() == "old"


def test_text_from_the_warehouse_is_never_markup(
    busy_warehouse: Warehouse, first_day: Warehouse, settings: Settings
) -> None:
    evil = busy_warehouse.query("select * from promotion.stages").with_columns(
        reason=pl.lit("<script>alert(1)</script>")
    )
    html = render({**read_frames(first_day, settings), "stages": evil}, settings, NOW)
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_every_measure_of_an_evaluation_has_a_line_in_the_glossary(first_day: Warehouse) -> None:
    columns = set(first_day.query("select * from lab.evaluations").columns)
    assert set(GLOSSARY) == columns - NOT_A_MEASURE


def test_a_long_table_is_shown_in_part_folded_in_part_and_counted() -> None:
    table = grid(pl.DataFrame({"n_x": range(250)}), ("n_x",), "select\n  1", mark=pl.col("n_x") == 20)
    assert [len(table.rows), len(table.folded), table.n_left_out] == [12, 188, 50]
    assert table.marked == {20}
    assert table.sql == "select 1"


def test_the_look_of_a_cell_follows_from_column_and_value() -> None:
    assert cell("alpha_frac", -0.1).kind == "down"
    assert cell("max_drawdown_frac", 0.1).kind == "number"
    assert cell("stage", "sandbox").kind == "stage"
    assert cell("stage", None).kind == ""
    assert cell("passed", False).kind == "failed"
    assert cell("reason", "why").kind == "words"


def test_a_check_over_all_symbols_fails_with_its_worst_symbol() -> None:
    quality = pl.DataFrame(
        {
            "check": ["gaps", "gaps", "gaps", "stale"],
            "severity": ["warn", "warn", "warn", "error"],
            "symbol": ["A", "B", "C", "A"],
            "passed": [False, True, False, True],
            "n_bad": [1, 0, 7, 0],
            "n_checked": [10, 10, 10, 1],
            "figure": [0.1, 0.0, 0.7, 0.0],
            "detail": ["one", "", "seven", ""],
        }
    )
    rows = record.checked(quality).to_dicts()
    assert [(r["check"], r["passed"], r["failing"], r["n_bad"], r["detail"]) for r in rows] == [
        ("gaps", False, "A, C", 8, "C: seven"),
        ("stale", True, "", 0, ""),
    ]


def test_a_hole_is_listed_without_the_halt_in_it(empty_warehouse: Warehouse, schema: Schema) -> None:
    """All are halted from 03:00 to 05:00; of B the source lacks two hours before and three after it."""
    absent = {"A/USD": {3, 4, 5}, "B/USD": set(range(1, 9))}
    start = datetime(2025, 3, 1, tzinfo=UTC)
    rows = [
        (symbol, start.replace(hour=hour), start.replace(hour=hour + 1), 1.0, 2.0, 0.5, 1.0, 3.0, "simulated", start)
        for symbol, hours in absent.items()
        for hour in range(10)
        if hour not in hours
    ]
    with empty_warehouse.write() as writer:
        writer.append(
            "market.bars",
            pl.DataFrame(
                rows,
                ["symbol", "opened_at_utc", "closed_at_utc", *PRICES, "volume", "source", "ingested_at_utc"],
                orient="row",
            ),
        )
        build(writer, schema.models["market.absences"])
    found = empty_warehouse.query(QUERIES["holes"])
    assert found.select("symbol", pl.col("first_absent_utc", "last_absent_utc").dt.hour(), "lost_bars").rows() == [
        ("B/USD", 6, 8, 3),
        ("B/USD", 1, 2, 2),
    ]
    assert [each.text for each in record.holes(found).headings][-1] == "lost bars"


def test_a_check_that_many_symbols_fail_names_a_few_and_counts_the_others() -> None:
    symbols = list("EDCBA")
    quality = pl.DataFrame({"symbol": symbols, "passed": [False] * 5, "detail": symbols}).with_columns(
        check=pl.lit("halts"), severity=pl.lit("warn"), n_bad=1, n_checked=9, figure=0.1
    )
    assert record.checked(quality)["failing"].to_list() == ["A, B, C and 2 more"]
    assert record.checked(quality.head(3))["failing"].to_list() == ["C, D, E"]


@pytest.mark.parametrize(
    ("base", "days", "interval"),
    [("15m", 30, Interval.M15), ("15m", 150, Interval.H1), ("15m", 730, Interval.H4), ("1d", 90_000, Interval.D1)],
)
def test_the_plot_of_closes_takes_the_shortest_interval_that_is_still_readable(
    base: str, days: int, interval: Interval, tmp_path: Path
) -> None:
    file = tmp_path / "c.toml"
    file.write_text("")
    chosen = load(file, {"market": {"base_interval": base, "history_days": days}, "timeframe": {"intervals": ["1d"]}})
    assert closes_interval(chosen) is interval
