"""A correction in the past marks the features and studies that saw it as out of date, and no others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.currency_checks import KEYS, currency_checks
from cappuccino.features.spec import FeatureSpec
from cappuccino.features.table import build_features
from cappuccino.market.interval import Interval
from cappuccino.market.simulated import SimulatedSource
from cappuccino.market.sync import sync_bars
from cappuccino.search.book import StudyBook
from cappuccino.search.study import plan_study
from cappuccino.settings import Settings
from cappuccino.store.models import build
from cappuccino.store.warehouse import Warehouse
from tests.unit.search.conftest import LATER
from tests.unit.search.fakes import NOW, SYMBOLS
from tests.unit.small_market import SCHEMA, Canned

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
START = NOW - 40 * DAY
STUDY_START = NOW - 25 * DAY
SEEN_BY_BOTH = NOW - 20 * DAY
RECORDED = SimulatedSource(1).bars(SYMBOLS, Interval.H1, START, LATER + DAY)


@pytest.fixture
def settings(lab: Callable[..., Settings]) -> Settings:
    """A warehouse with features of all bars until LATER, and a study as of NOW of the last 25 days before it."""
    made = lab()
    made = made.model_copy(update={"market": made.market.model_copy(update={"history_days": 25})})
    with Warehouse(made.database).read() as reader:
        plan = plan_study(reader, made, "training", NOW)
    StudyBook(Warehouse(made.database), plan, made).open()
    return made


def derive(settings: Settings) -> None:
    with Warehouse(settings.database).write() as writer:
        build(writer, SCHEMA.models["market.bars_all"])


def correct(settings: Settings, at: datetime, by: float = 1e-9, when: datetime = LATER + HOUR) -> None:
    """Sync the day of `at` from a source that has another volume for one bar of ETH/USD, as of `when`."""
    is_wrong = (pl.col("symbol") == "ETH/USD") & (pl.col("opened_at_utc") == at)
    frame = RECORDED.with_columns(pl.when(is_wrong).then(pl.col("volume") * (1 + by)).otherwise("volume"))
    day = Interval.D1.floor(at)
    sync_bars(Warehouse(settings.database), Canned(frame), settings.market, day, day + DAY, when)


def seen(settings: Settings) -> dict[str, dict[str, Any]]:
    rows = Warehouse(settings.database).query("from ops.data_seen").rows(named=True)
    return {row["kind"]: row for row in rows}


def late(settings: Settings) -> set[str]:
    return {kind for kind, row in seen(settings).items() if row["is_out_of_date"]}


def test_what_was_just_made_is_current_and_says_which_bars_it_saw(settings: Settings) -> None:
    rows = seen(settings)
    assert late(settings) == set()
    assert rows.keys() == {"features", "training"}
    assert (rows["features"]["from_utc"], rows["features"]["to_utc"]) == (START, LATER)
    spec = FeatureSpec.from_settings(settings.features)
    warmup = spec.warmup_bars(Interval.H1) * HOUR
    assert (rows["training"]["from_utc"], rows["training"]["to_utc"]) == (STUDY_START - warmup, NOW - 10 * DAY)
    assert all(row["bars_fingerprint"] == row["fingerprint_now"] for row in rows.values())
    assert all(row["is_in_use"] and row["known_since_utc"] is None for row in rows.values())


def test_a_correction_marks_what_saw_it_until_the_bar_is_put_back(settings: Settings) -> None:
    correct(settings, SEEN_BY_BOTH)
    derive(settings)
    assert late(settings) == {"features", "training"}
    assert {row["known_since_utc"] for row in seen(settings).values()} == {LATER + HOUR}
    correct(settings, SEEN_BY_BOTH, by=0.0, when=LATER + 2 * HOUR)
    derive(settings)
    assert late(settings) == set()
    assert {row["known_since_utc"] for row in seen(settings).values()} == {None}


def test_a_bar_that_the_study_did_not_see_leaves_it_current(settings: Settings) -> None:
    for at in (STUDY_START - 10 * DAY, NOW):
        correct(settings, at)
        assert late(settings) == {"features"}
        correct(settings, at, by=0.0)
        assert late(settings) == set()


def test_a_bar_of_the_warm_up_of_the_first_features_counts(settings: Settings) -> None:
    first = seen(settings)["training"]["from_utc"]
    assert first < STUDY_START
    correct(settings, first)
    assert late(settings) == {"features", "training"}


def test_bars_after_the_range_change_nothing(settings: Settings) -> None:
    source, after = Canned(RECORDED), LATER + DAY
    assert sync_bars(Warehouse(settings.database), source, settings.market, LATER, after, after).n_new == 48
    derive(settings)
    assert late(settings) == set()


def test_a_bar_that_is_withdrawn_and_one_of_another_symbol(settings: Settings) -> None:
    with Warehouse(settings.database).write() as writer:
        writer.execute("insert into market.bars by name select * replace ('SOL/USD' as symbol) from market.bars")
    assert late(settings) == set()
    with Warehouse(settings.database).write() as writer:
        writer.execute("delete from market.bars where symbol = 'BTC/USD' and opened_at_utc = $at", at=SEEN_BY_BOTH)
    assert late(settings) == {"features", "training"}


def test_features_that_were_made_of_old_derived_bars_stay_out_of_date(settings: Settings) -> None:
    correct(settings, SEEN_BY_BOTH)

    def rebuild() -> None:
        spec = FeatureSpec.from_settings(settings.features)
        build_features(Warehouse(settings.database), SYMBOLS, (Interval.H1,), spec, LATER)

    rebuild()
    assert late(settings) == {"features", "training"}
    derive(settings)
    rebuild()
    assert late(settings) == {"training"}


def results(settings: Settings) -> dict[str, dg.AssetCheckResult]:
    found = {}
    for key, check in zip(KEYS, currency_checks(), strict=True):
        result = check(Warehouse(settings.database))
        assert isinstance(result, dg.AssetCheckResult)
        found[key.asset_key.path[-1]] = result
    return found


def add_model(settings: Settings, study: str, stage: str) -> None:
    with Warehouse(settings.database).write() as writer:
        writer.execute(
            """
            insert into promotion.decisions
            select count(*) + 1, $study, 3, null, $stage, 'enter', 'test', '{}', 'rule', timestamp '2024-06-01'
            from promotion.decisions
            """,
            study=study,
            stage=stage,
        )


def test_the_checks_pass_while_nothing_was_corrected(settings: Settings) -> None:
    found = results(settings)
    assert found.keys() == {"features", "studies", "stages"}
    assert all(result.passed and result.description is None for result in found.values())
    assert found["features"].metadata["n_checked"] == dg.IntMetadataValue(1)


def test_the_checks_warn_and_name_what_is_out_of_date_and_what_to_do(settings: Settings) -> None:
    study = seen(settings)["training"]["name"]
    add_model(settings, study, "sandbox")
    correct(settings, SEEN_BY_BOTH)
    found = results(settings)
    assert all(not result.passed and result.severity is dg.AssetCheckSeverity.WARN for result in found.values())
    assert "features 1h (bars 2024-04-22 00:00 to 2024-06-03 00:00, bars changed at 2024-06-03 01:00)" in str(
        found["features"].description
    )
    assert "features/features again" in str(found["features"].description)
    assert f"training {study} [{study}/3 (sandbox)]" in str(found["stages"].description)
    assert found["studies"].metadata["n_out_of_date"] == dg.IntMetadataValue(1)


def test_old_studies_warn_only_while_one_of_their_models_is_not_retired(settings: Settings) -> None:
    study = seen(settings)["training"]["name"]
    with Warehouse(settings.database).write() as writer:
        writer.execute(
            """
            insert into lab.studies by name
            select * replace ('newer' as study, as_of_utc + interval 1 day as as_of_utc, 'complete' as state,
                              null as bars_fingerprint)
            from lab.studies
            """
        )
    correct(settings, SEEN_BY_BOTH)
    assert results(settings)["studies"].passed
    assert results(settings)["studies"].metadata["n_unknown"] == dg.IntMetadataValue(1)
    add_model(settings, study, "arena")
    assert not results(settings)["studies"].passed
    add_model(settings, study, "retired")
    assert results(settings)["studies"].passed
    assert results(settings)["stages"].passed
