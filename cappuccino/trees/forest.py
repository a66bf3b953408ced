"""Grow trees on a stretch of history, store them as text, and ask them what they expect.

Equal inputs give equal bytes: one thread, fixed seeds, and the trees that decide have always been through their text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch  # noqa: F401 - brings the OpenMP library that lightgbm links against, which a bare machine lacks

# isort: split
import lightgbm as lgb

from cappuccino.env.market import MarketArrays
from cappuccino.errors import ArtifactError, DataError
from cappuccino.market.panel import FloatArray
from cappuccino.portfolio.costs import Costs
from cappuccino.trees import inputs, labels
from cappuccino.trees.hyper import TreeHyper
from cappuccino.trees.inputs import Column, Rows, Sight

MIN_ROWS = 200
"""Fewer rows of bars and symbols teach nothing."""
LARGEST_LABEL = 4.0
"""Labels are cut off at so many deviations: one crash must not decide what every leaf says."""
MIN_FULL_RETURN = 1e-6
_FIELDS = ("booster", "columns", "entry_return", "full_return")


@dataclass(frozen=True)
class Forest:
    """Trees, and how their predictions are read."""

    hyper: TreeHyper
    lookback: int
    columns: tuple[Column, ...]
    booster: str
    """The trees as LightGBM writes them."""
    entry_return: float
    """Smallest expected log return that opens a position."""
    full_return: float
    """Expected log return that asks for the whole weight of a symbol."""

    @cached_property
    def trees(self) -> lgb.Booster:
        return lgb.Booster(model_str=self.booster)

    def expect(self, market: MarketArrays, start: int, stop: int) -> FloatArray:
        """Return the expected log returns over the horizon at the close of bars [start, stop), (stop - start, A).

        NaN where an input is; `start` has the whole lookback before it.
        """
        seen = _rows(self.hyper, self.lookback, market, start, stop)
        predicted = np.asarray(self.trees.predict(seen, num_threads=1), dtype=np.float64)
        predicted[np.isnan(seen).any(axis=1)] = np.nan
        return predicted.reshape(stop - start, -1) * _units(self.hyper, self.lookback, market, start, stop)

    def importances(self) -> dict[Column, float]:
        """Return the share of each input in what the splits gained, all together 1; all 0 of trees without a split."""
        gains = self.trees.feature_importance(importance_type="gain")
        return dict(zip(self.columns, (gains / max(gains.sum(), 1e-300)).tolist(), strict=True))

    def to_json(self) -> str:
        """Return the forest but for its hyper-parameters and lookback, which the manifest keeps."""
        stored = {
            "booster": self.booster,
            "columns": [[column.feature, column.view] for column in self.columns],
            "entry_return": self.entry_return,
            "full_return": self.full_return,
        }
        return json.dumps(stored, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, hyper: TreeHyper, lookback: int, names: tuple[str, ...], origin: str) -> Forest:
        """Return the forest of `to_json` for features `names`; raises ArtifactError naming `origin` when damaged."""
        stored = _fields(text, origin)
        wanted = inputs.columns(names, _sight(hyper, lookback))
        try:
            found = tuple(Column(str(feature), str(view)) for feature, view in stored["columns"])
            made = cls(
                hyper, lookback, found, stored["booster"], float(stored["entry_return"]), float(stored["full_return"])
            )
            n_inputs = made.trees.num_feature()
        except (TypeError, ValueError, lgb.basic.LightGBMError) as error:
            raise ArtifactError(f"{origin} holds no trees ({error}); restore the folder, or retire the model") from None
        if found != wanted or n_inputs != len(wanted):
            raise ArtifactError(
                f"{origin} has trees of {n_inputs} inputs ({len(found)} named) where its manifest asks for "
                f"{len(wanted)}; restore the folder, or retire the model"
            )
        if not (made.full_return > 0 and np.isfinite([made.entry_return, made.full_return]).all()):
            raise ArtifactError(
                f"{origin} reads predictions by {made.full_return} and {made.entry_return}, which cannot be; "
                "restore the folder, or retire the model"
            )
        return made


def grow(
    market: MarketArrays,
    names: tuple[str, ...],
    segments: Sequence[tuple[int, int]],
    lookback: int,
    hyper: TreeHyper,
    costs: Costs,
    seed: int,
) -> Forest:
    """Return the forest that bars [start, stop) of `segments` teach; windows and labels end inside of their segment.

    Raises DataError when features are missing there, or the segments hold too few rows.
    """
    seen, wanted, worth = _examples(market, segments, lookback, hyper)
    booster = lgb.train(
        _parameters(hyper, len(seen), seed),
        lgb.Dataset(seen, wanted, categorical_feature=[seen.shape[1] - 1] if hyper.knows_symbol else []),
        num_boost_round=hyper.rounds,
    )
    forest = Forest(
        hyper=hyper,
        lookback=lookback,
        columns=inputs.columns(names, _sight(hyper, lookback)),
        booster=booster.model_to_string(),
        entry_return=hyper.entry_costs * 2 * (costs.fee_frac + costs.slippage_frac),
        full_return=1.0,
    )
    expected = np.asarray(forest.trees.predict(seen, num_threads=1)) * worth
    usual = float(np.sqrt(np.mean(np.square(expected))))
    return replace(forest, full_return=max(hyper.full_at * usual, MIN_FULL_RETURN))


def _examples(
    market: MarketArrays, segments: Sequence[tuple[int, int]], lookback: int, hyper: TreeHyper
) -> tuple[Rows, FloatArray, FloatArray]:
    """Return inputs (n, K), labels (n,) and their units (n,) of the segments."""
    parts = [
        _of_segment(market, segment, lookback, hyper)
        for segment in segments
        if segment[1] - segment[0] >= lookback + hyper.horizon_bars
    ]
    n_rows = sum(len(wanted) for _, wanted, _ in parts)
    if n_rows < MIN_ROWS:
        raise DataError(
            f"{n_rows} rows to grow trees on, {MIN_ROWS} are needed; a horizon of {hyper.horizon_bars} bars and a "
            f"lookback of {lookback} leave no more of the training range: load a longer history"
        )
    seen, wanted, worth = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    if not np.isfinite(seen).all():
        raise DataError("training rows lack features; build the features again")
    most = LARGEST_LABEL * float(wanted.std())
    return seen, np.clip(wanted, -most, most), worth


def _of_segment(
    market: MarketArrays, segment: tuple[int, int], lookback: int, hyper: TreeHyper
) -> tuple[Rows, FloatArray, FloatArray]:
    (first, stop), horizon = segment, hyper.horizon_bars
    start = first + lookback - 1
    ahead = labels.forward_log_returns(
        market.open_usd[start:stop].numpy(), market.close_usd[start:stop].numpy(), horizon
    )
    worth = _units(hyper, lookback, market, start, stop - horizon)
    return _rows(hyper, lookback, market, start, stop - horizon), (ahead / worth).ravel(), worth.ravel()


def _rows(hyper: TreeHyper, lookback: int, market: MarketArrays, start: int, stop: int) -> Rows:
    return inputs.rows(market.features.numpy(), start, stop, _sight(hyper, lookback))


def _sight(hyper: TreeHyper, lookback: int) -> Sight:
    return Sight(lookback, hyper.sees_market, hyper.knows_symbol)


def _units(hyper: TreeHyper, lookback: int, market: MarketArrays, start: int, stop: int) -> FloatArray:
    return labels.units(market.close_usd.numpy(), start, stop, lookback, hyper.horizon_bars, hyper.target)


def _parameters(hyper: TreeHyper, n_rows: int, seed: int) -> dict[str, Any]:
    return {
        "objective": "regression",
        "num_leaves": hyper.leaves,
        "learning_rate": hyper.learning_rate,
        "min_data_in_leaf": max(2, round(hyper.min_leaf_frac * n_rows)),
        "feature_fraction": hyper.feature_frac,
        "lambda_l2": hyper.l2,
        "max_bin": 63,
        "seed": seed % 2**31,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }


def _fields(text: str, origin: str) -> dict[str, Any]:
    try:
        stored = json.loads(text)
    except json.JSONDecodeError as error:
        raise ArtifactError(f"{origin} is not JSON ({error}); restore the folder, or retire the model") from None
    if not isinstance(stored, dict) or sorted(stored) != sorted(_FIELDS):
        raise ArtifactError(
            f"{origin} has not the fields {', '.join(_FIELDS)}; restore the folder, or retire the model"
        )
    return stored
