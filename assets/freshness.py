"""How often assets are expected to be made anew, as Dagster's freshness policies: the UI marks what is late.

They look at when an asset was materialised; how old the data in it are is a fact of the warehouse (`market.freshness`,
the `stale` check, the sensors), because a backfill of last year makes no bar any younger.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import dagster as dg

from assets.tables import key_of
from cappuccino.settings import Settings

TRAINED = ("features.features", "lab.timeframe_choices", "lab.studies", "lab.trials")


def with_freshness(
    definitions: Iterable[dg.AssetsDefinition | dg.AssetSpec], settings: Settings
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Return the assets, those of market and training with the policy that `settings` ask for."""
    bars = settings.market.max_bar_age + settings.market.base_interval.duration
    training = timedelta(days=settings.training.max_data_age_days)
    policies = {
        **{key_of(table): _policy(bars) for table in ("market.bars", "market.bars_all")},
        **{key_of(table): _policy(training) for table in TRAINED},
    }

    def expected(spec: dg.AssetSpec) -> dg.AssetSpec:
        policy = policies.get(spec.key)
        return spec.replace_attributes(freshness_policy=policy) if policy else spec

    return list(dg.map_asset_specs(expected, definitions))


def _policy(late_after: timedelta) -> dg.FreshnessPolicy:
    late_after = max(late_after, timedelta(minutes=2))  # Dagster knows no window below a minute
    return dg.FreshnessPolicy.time_window(fail_window=late_after, warn_window=late_after * 0.75)
