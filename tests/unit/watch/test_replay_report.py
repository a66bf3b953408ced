"""The page of a replay: thirty days written by hand, with figures that can be checked in the head."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.dates import num2date
from matplotlib.figure import Figure
from matplotlib.text import Text

from cappuccino.errors import UnknownName
from cappuccino.settings import Settings, load
from cappuccino.store.warehouse import Warehouse
from cappuccino.watch import plots
from cappuccino.watch.plots import replay as pictures
from cappuccino.watch.replay import replays_frame, write_replay_report
from cappuccino.watch.replay.choices import choices
from cappuccino.watch.replay.course import curves, months, spells
from cappuccino.watch.replay.read import read_replay
from cappuccino.watch.replay.sections import measures, sections
from cappuccino.watch.replay.words import MEASURES
from tests.unit.watch.test_report import Page

START = datetime(2025, 3, 10, tzinfo=UTC)
DAY = timedelta(days=1)
N_DAYS = 30
STOP = START + N_DAYS * DAY
NAME = "replay-20250310-20250409-ab12cd34"
CASH_USD = 10_000.0
TIME = pl.Datetime("us", "UTC")
OTHERS = ("equal_weight", "momentum", "mean_reversion", "sixty_forty", "random_entry", "cash")
GAINS = {"system": -0.01, "buy_and_hold": 0.05, **dict.fromkeys(OTHERS, -0.02), "momentum": 0.08, "cash": 0.0}
# The system gains 10 % until the end of March, then loses 10 % on the last day; buy-and-hold gains 5 % on the second.
SYSTEM = [10_000.0] * 21 + [11_000.0] * 8 + [9_900.0]
BUY_AND_HOLD = [10_000.0] + [10_500.0] * 29
ENTER: tuple[str | None, str, str] = (None, "arena", "enter")
REASON = "2.0 days in the sandbox: +2.13 %, and nobody was in production"
DECISIONS = (
    (1, ENTER, 1),
    (2, ENTER, 1),
    (3, ENTER, 1),
    (3, ("arena", "retired", "retire"), 1),
    (1, ("arena", "sandbox", "promote"), 3),
    (1, ("sandbox", "production", "promote"), 5),
    (2, ("arena", "sandbox", "promote"), 13),
    (1, ("production", "retired", "replace"), 15),
    (2, ("sandbox", "production", "replace"), 15),
    (2, ("production", "retired", "retire"), 25.5),
)


def run_row(settings: Settings, **changed: Any) -> pl.DataFrame:
    stored = settings.model_copy(update={"warehouse": Path("somewhere")}).model_dump(mode="json")
    row = {
        "replay": NAME,
        "state": "complete",
        "from_utc": START,
        "to_utc": STOP,
        "moment_utc": STOP,
        "step_hours": 24.0,
        "retrain_every_days": 12.0,
        "source": "simulated",
        "is_simulated": True,
        "symbols": ["BTC/USD", "ETH/USD"],
        "profile": "demo",
        "code_version": "0.3.0+abc",
        "warehouse": "somewhere",
        "settings": json.dumps(stored),
        "duration_s": 1234.5,
        **changed,
    }
    return pl.DataFrame([row], schema_overrides={"moment_utc": TIME})


def equity_rows(values: Mapping[str, Sequence[float]], name: str = NAME) -> pl.DataFrame:
    """Values at the end of each day; the account's opening is a row of its own."""
    rows = [
        (name, subject, START + day * DAY, value)
        for subject, course in values.items()
        for day, value in enumerate([CASH_USD, *course])
    ]
    columns = {"replay": pl.String, "subject": pl.String, "closed_at_utc": TIME, "value_usd": pl.Float64}
    return pl.DataFrame(rows, schema=columns, orient="row")


def measure_row(subject: str, gain: float, name: str = NAME, n_days: int = N_DAYS) -> dict[str, Any]:
    figures: dict[str, Any] = dict.fromkeys(MEASURES, 0.25)
    figures |= {"total_return_frac": gain, "alpha_frac": gain - GAINS["buy_and_hold"], "max_drawdown_days": 7}
    figures |= {"sharpe_annualized": gain * 20, "max_drawdown_frac": 0.1, "fees_usd": 41.5, "slippage_usd": 8.25}
    span = {"from_utc": START, "to_utc": START + n_days * DAY, "n_days": n_days}
    return {"replay": name, "subject": subject, **span, **figures}


def decision_rows(
    decisions: Sequence[tuple[int, tuple[str | None, str, str], float]] = DECISIONS, name: str = NAME
) -> pl.DataFrame:
    rows = [
        {
            "replay": name,
            "sequence": sequence,
            "study": "training-20250311",
            "trial": trial,
            "from_stage": before,
            "to_stage": after,
            "action": action,
            "reason": REASON,
            "figures": "{}",
            "decided_by": "rule",
            "decided_at_utc": START + day * DAY,
        }
        for sequence, (trial, (before, after, action), day) in enumerate(decisions, start=1)
    ]
    return pl.DataFrame(rows, infer_schema_length=None, schema_overrides={"from_stage": pl.String})


def step_row(day: float, job: str, state: str = "done", detail: str = "", name: str = NAME) -> dict[str, Any]:
    reason = f"{job} was due"
    row = {"replay": name, "moment_utc": START + day * DAY, "job": job, "state": state, "reason": reason}
    return {**row, "detail": detail, "duration_s": 3.25}


def step_rows() -> pl.DataFrame:
    rows = [step_row(day, "trading") for day in range(31) if day not in (4, 20)]
    rows.append(step_row(4, "trading", detail="check gaps failed"))
    rows.append(step_row(20, "trading", "stopped", "no trading on stale data <here>"))
    rows += [step_row(1, "whole_life"), step_row(13, "whole_life", "stopped", "no good trial")]
    rows += [step_row(14, "whole_life"), step_row(15, "matches")]
    return pl.DataFrame(rows)


def write(warehouse: Warehouse, **tables: pl.DataFrame) -> Warehouse:
    with warehouse.write() as writer:
        for table, rows in tables.items():
            writer.append(f"replay.{table}", rows)
    return warehouse


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory, first_day: Warehouse) -> Warehouse:
    """A warehouse with one replay that has come to its end; nobody changes it."""
    folder = tmp_path_factory.mktemp("replay")
    none = folder / "none.toml"
    none.write_text("")
    flat = {name: [CASH_USD * (1 + GAINS[name])] * N_DAYS for name in OTHERS}
    return write(
        Warehouse(Path(shutil.copy(first_day.file, folder))),
        runs=run_row(load(none)),
        steps=step_rows(),
        equity=equity_rows({"system": SYSTEM, "buy_and_hold": BUY_AND_HOLD, **flat}),
        measures=pl.DataFrame([measure_row(subject, gain) for subject, gain in GAINS.items()]),
        decisions=decision_rows(),
    )


@pytest.fixture
def growing(complete: Warehouse, tmp_path: Path) -> Warehouse:
    """A copy of that warehouse, to add another replay."""
    return Warehouse(Path(shutil.copy(complete.file, tmp_path)))


@pytest.fixture(scope="module")
def complete_html(complete: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("page") / "deep" / "replay.html"
    assert write_replay_report(complete, NAME, file) == file
    assert [left.name for left in file.parent.iterdir()] == ["replay.html"]
    return file.read_text(encoding="utf-8")


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))


def tile(html: str, name: str) -> tuple[str, str]:
    """Return value and note of a tile."""
    pattern = rf'<div class="tile"><span>{re.escape(name)}</span><b[^>]*>(.*?)</b><span>(.*?)</span>'
    found = re.search(pattern, html)
    assert found, f"no tile {name}"
    return found[1].replace("\N{NO-BREAK SPACE}", " "), found[2].replace("\N{NO-BREAK SPACE}", " ")


def test_the_tiles_say_what_the_system_earned_paid_and_did(complete_html: str) -> None:
    assert tile(complete_html, "System") == ("-1.00 %", "buy-and-hold +5.00 %")
    assert tile(complete_html, "Alpha") == ("-6.00 %", "above buy-and-hold")
    assert tile(complete_html, "Sharpe")[0] == "-0.20"
    assert tile(complete_html, "Max drawdown")[0] == "10.00 %"
    assert tile(complete_html, "Fees and slippage (USD)") == ("49.75", "fees 41.50, slippage 8.25")
    assert tile(complete_html, "Days") == ("30", "all of them out of sample")
    assert tile(complete_html, "Studies run") == ("2", "2 jobs stopped by an error")
    assert tile(complete_html, "In production at the end") == ("nobody", "since 2025-04-04 12:00")


def test_the_page_is_whole_and_needs_nothing_from_outside(complete_html: str) -> None:
    page = Page(complete_html)
    assert page.open_tags == []
    assert [a for a in page.addresses if not a.startswith(("data:image/png;base64,", "#"))] == []
    for address in page.addresses:
        if address.startswith("#"):
            assert f'id="{address[1:]}"' in complete_html
    light = re.findall(r'<img [^>]*src="(data:[^"]+)"', complete_html)
    dark = re.findall(r'srcset="(data:[^"]+)"', complete_html)
    assert len(light) == len(dark) == 3 and not set(light) & set(dark)


def test_the_page_tells_months_decisions_steps_and_settings(complete_html: str) -> None:
    text = Page(complete_html).text
    for said in (
        "Replay of 2025\N{NON-BREAKING HYPHEN}03",
        f"{NAME} · as of its moment 2025-04-09 00:00 UTC · profile demo",
        "BTC/USD, ETH/USD on the simulated market",
        "every 24 hours, and started a new study when its training data were 12 days old",
        "2025-03-10 00:00 to 2025-04-09 00:00 UTC, 30 days for everybody.",
        "The system gained more than buy-and-hold in 1 of 2 months.",
        "2 models came to production, which changed hands 3 times.",
        "3 models entered the arena and 1 ended there; 6 further decisions",
        "trading (sync, desk, verdicts) 31 times, whole_life (study, arena, desk) 3 times, ",
        "matches (arena, desk) 1 time.",
        "In 1 of those not shown a check of the data failed",
        "no trading on stale data <here>",
        "people wrote its settings and code later",
        "training.trials",
    ):
        assert said in text, said
    assert "check gaps failed" not in text


def test_a_simulated_market_is_said_at_the_top_and_under_each_picture_and_a_real_one_is_not(
    growing: Warehouse, complete_html: str, settings: Settings, tmp_path: Path
) -> None:
    assert "Simulated market." in complete_html and "(simulated market)</title>" in complete_html
    assert len(re.findall(r'<img alt="[^"]*\(simulated market\)"', complete_html)) == 3
    real = run_row(settings, replay="real", source="files", is_simulated=False)
    html = write_replay_report(write(growing, runs=real), "real", tmp_path / "b.html").read_text()
    assert "imulated market" not in html.replace("simulated.seed", "")
    assert "bars of the source files" in html


def test_measures_stand_side_by_side_the_system_first_and_then_who_gained_most(complete: Warehouse) -> None:
    with complete.read() as reader:
        table = measures(read_replay(reader, NAME)).grids[0]
    names = [heading.text for heading in table.headings]
    assert names[:5] == ["measure", "system", "momentum", "buy and hold", "cash"]
    rows = {row[0].text: [cell.text.replace("\N{NO-BREAK SPACE}", " ") for cell in row[1:]] for row in table.rows}
    assert rows["total return"][:4] == ["-1.00 %", "+8.00 %", "+5.00 %", "+0.00 %"]
    assert rows["max drawdown days"] == ["7"] * 8
    assert [cell.kind for cell in table.rows[0][1:4]] == ["down", "up", "up"]


def test_every_measure_of_a_replay_is_shown_and_explained(first_day: Warehouse) -> None:
    columns = first_day.query("from replay.measures").columns
    assert set(MEASURES) == set(columns) - {"replay", "subject", "from_utc", "to_utc", "n_days"}
    assert all(MEASURES.values())


def test_an_unfinished_replay_says_how_far_it_has_come(
    empty_warehouse: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    moment = START + 7 * DAY
    warehouse = write(
        empty_warehouse,
        runs=run_row(settings, state="running", moment_utc=moment),
        equity=equity_rows({"system": SYSTEM[:7], "buy_and_hold": BUY_AND_HOLD[:7]}),
        measures=pl.DataFrame([measure_row("system", 0.0, n_days=7)]),
        decisions=decision_rows(DECISIONS[:6]),
    )
    html = write_replay_report(warehouse, NAME, tmp_path / "r.html").read_text()
    assert "It stands at 2025-03-17 00:00 UTC, 7 of 30 days" in html
    assert tile(html, "Days") == ("7", "of 30")
    assert tile(html, "In production now") == ("training-20250311/1", "since 2025-03-15 00:00")
    assert "all of them out of sample" not in html


def test_a_replay_before_its_first_moment_says_on_each_part_that_there_is_nothing_yet(
    empty_warehouse: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    warehouse = write(empty_warehouse, runs=run_row(settings, state="running", moment_utc=None))
    text = Page(write_replay_report(warehouse, NAME, tmp_path / "r.html").read_text()).text
    assert "It stands at 2025-03-10 00:00 UTC, 0 of 30 days" in text
    for said in ("Nothing has been decided yet.", "Nothing has been done yet.", "No time has passed yet."):
        assert said in text
    assert text.count("Nothing has been traded yet.") == 3


def test_no_single_empty_table_breaks_a_section(complete: Warehouse) -> None:
    with complete.read() as reader:
        found = read_replay(reader, NAME)
    for table in ("steps", "equity", "measures", "decisions"):
        emptied = replace(found, **{table: getattr(found, table).clear()})
        assert [section.key for section in sections(emptied)] == [section.key for section in sections(found)]


def test_an_unknown_replay_is_refused_with_those_there_are(
    complete: Warehouse, first_day: Warehouse, tmp_path: Path
) -> None:
    file = tmp_path / "r.html"
    file.write_text("old")
    with pytest.raises(UnknownName, match=f"no replay 'other'; there are {NAME}"):
        write_replay_report(complete, "other", file)
    with pytest.raises(UnknownName, match="there is none yet"):
        write_replay_report(first_day, "other", file)
    assert file.read_text() == "old"


def test_rows_of_another_replay_stay_out(growing: Warehouse, settings: Settings) -> None:
    write(
        growing,
        runs=run_row(settings, replay="other", from_utc=START - DAY),
        equity=equity_rows({"system": SYSTEM}, "other"),
        measures=pl.DataFrame([measure_row("system", 9.0, "other")]),
        decisions=decision_rows(DECISIONS[:6], "other"),
        steps=pl.DataFrame([step_row(1, "whole_life", name="other")]),
    )
    with growing.read() as reader:
        found, summary = read_replay(reader, NAME), replays_frame(reader)
    heights = [frame.height for frame in (found.equity, found.measures, found.decisions, found.steps)]
    assert heights == [8 * 31, 8, len(DECISIONS), 35]
    figures = summary.select("replay", "total_return_frac", "best_baseline", "n_studies", "production").rows()
    assert figures == [
        ("other", 9.0, None, 1, "training-20250311/1"),
        (NAME, -0.01, "momentum", 2, None),
    ]


def test_curves_start_at_one_whether_or_not_the_opening_was_written() -> None:
    rows = equity_rows({"system": [10_500.0, 9_000.0]})
    expected = [(START, 1.0), (START + DAY, 1.05), (START + 2 * DAY, 0.9)]
    for equity in (rows, rows.filter(pl.col("closed_at_utc") > START)):
        assert curves(equity, START, CASH_USD).select("closed_at_utc", "growth").rows() == expected


def test_a_day_that_ends_at_midnight_of_the_first_belongs_to_the_month_before() -> None:
    growth = curves(equity_rows({"system": SYSTEM, "buy_and_hold": BUY_AND_HOLD}), START, CASH_USD)
    march, april = months(growth, START).to_dicts()
    assert (march["month"], march["n_days"], april["month"], april["n_days"]) == ("2025-03", 22, "2025-04", 8)
    figures = [[month[name] for name in ("system_return_frac", "buy_and_hold_return_frac", "alpha_frac")]
               for month in (march, april)]  # fmt: skip
    assert np.allclose(figures, [[0.1, 0.05, 0.05], [-0.1, 0.0, -0.1]])


def test_production_changes_hands_without_a_hole_and_is_empty_before_and_after() -> None:
    found = spells(decision_rows(), START, STOP).rows()
    one, two = "training-20250311/1", "training-20250311/2"
    assert found == [
        (None, START, START + 5 * DAY),
        (one, START + 5 * DAY, START + 15 * DAY),
        (two, START + 15 * DAY, START + 25.5 * DAY),
        (None, START + 25.5 * DAY, STOP),
    ]
    assert spells(decision_rows()[:0], START, STOP).rows() == [(None, START, STOP)]
    assert spells(decision_rows()[:0], START, START).is_empty()


def test_a_model_that_comes_at_the_first_moment_or_comes_back_at_once_makes_no_spell_of_nothing() -> None:
    came = (1, ("sandbox", "production", "promote"), 0)
    left = (1, ("production", "sandbox", "demote"), 4)
    back = (1, ("sandbox", "production", "promote"), 4)
    assert spells(decision_rows((came, left, back)), START, STOP).rows() == [("training-20250311/1", START, STOP)]


def test_settings_that_differ_are_found_whoever_changed_them(settings: Settings) -> None:
    paper = Settings.model_construct().model_dump(mode="json")
    assert choices(paper).is_empty()
    changed = {**paper, "training": {**paper["training"], "trials": 50, "workers": 7, "gone": 1}}
    changed["market"] = {**paper["market"], "end": "2025-07-01T00:00:00Z", "source": "files"}
    changed["timeframe"] = {**paper["timeframe"], "intervals": ["1h"]}
    assert choices(changed).rows() == [
        ("timeframe.intervals", "15m, 30m, 1h, 4h, 1d", "1h"),
        ("training.trials", "1000", "50"),
    ]
    assert "arena.streak" in choices(settings.model_dump(mode="json"))["key"].to_list()


def test_the_picture_of_the_curves_marks_changes_and_studies_and_names_each_line() -> None:
    growth = curves(equity_rows({"system": SYSTEM, "buy_and_hold": BUY_AND_HOLD}), START, CASH_USD)
    change, study = START + 5 * DAY, START + DAY
    panel = pictures.growth(growth, [change], [study], simulated=False).axes[0]
    lines = {str(line.get_label()): line for line in panel.lines}
    assert np.allclose(np.asarray(lines["system"].get_ydata(), dtype=float)[[0, 22, 30]], [1.0, 1.1, 0.99])
    assert lines["system"].get_linewidth() > lines["buy and hold"].get_linewidth()
    marks = {line.get_linestyle(): line.get_xdata() for line in panel.lines if len(line.get_xdata()) == 2}
    assert num2date(marks[":"][0]) == study
    solid = [line.get_xdata()[0] for line in panel.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]
    assert change in [num2date(place) for place in solid]
    said = words(panel.figure).replace("\N{NO-BREAK SPACE}", " ")
    for name in ("system -1.00 %", "buy and hold +5.00 %", "production changed hands", "a study was run"):
        assert name in said


def test_the_drawdown_counts_from_the_opening() -> None:
    growth = curves(equity_rows({"system": [9_000.0, 12_000.0, 6_000.0], "cash": [CASH_USD] * 3}), START, CASH_USD)
    panel = pictures.drawdown(growth, simulated=False).axes[0]
    assert [line.get_label() for line in panel.lines] == ["system"]
    assert np.allclose(np.asarray(panel.lines[0].get_ydata(), dtype=float), [0.0, -0.1, 0.0, -0.5])


def test_the_strip_has_a_row_for_each_model_and_one_for_nobody() -> None:
    held = spells(decision_rows(), START, STOP)
    panel = pictures.production(held, simulated=True).axes[0]
    names = [label.get_text() for label in panel.get_yticklabels()]
    assert names == ["nobody (cash)", "training-20250311/1", "training-20250311/2"]
    said = words(panel.figure).replace("\N{NO-BREAK SPACE}", " ")
    assert "9.5 days · 31.67 %" in said and "10.0 days · 33.33 %" in said and "simulated market" in said
    few = pictures.production(held, simulated=False, n_shown=1).axes[0]
    assert [label.get_text() for label in few.get_yticklabels()] == [names[0], names[2], "1 other"]


@pytest.mark.parametrize(
    ("places", "moved"),
    [
        ([1.0, 5.0], [1.0, 5.0]),
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]),
        ([9.9, 9.8, 2.0], [10.0, 9.0, 2.0]),
        ([0.0] * 21, [0.5 * n for n in range(21)]),
        ([11.0], [10.0]),
    ],
)
def test_names_of_lines_stand_apart_in_the_order_of_the_lines(places: list[float], moved: list[float]) -> None:
    assert np.allclose(pictures.spread(places, 1.0, 0.0, 10.0), moved)


def test_pictures_of_nothing_say_so(first_day: Warehouse) -> None:
    empty = curves(equity_rows({}), START, CASH_USD)
    nobody = spells(decision_rows()[:0], START, START)
    for figure in (
        pictures.growth(empty, [], [], simulated=True),
        pictures.drawdown(empty, simulated=True),
        pictures.production(nobody, simulated=True),
    ):
        assert "yet" in words(figure) and "simulated market" in words(figure)
        assert plots.png(figure)
