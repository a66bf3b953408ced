"""What the trees of a study look at: the share of each input in what their splits gained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from cappuccino.registry.identity import ModelId
from cappuccino.store.warehouse import Writer
from cappuccino.trees.agent import TreeAgent
from cappuccino.trees.space import Told


def importance_frame(artifacts: Path, model: ModelId) -> pl.DataFrame:
    """Return the rows of lab.tree_importances of `model`; raises ArtifactError when its folder is damaged."""
    shares = TreeAgent.load(artifacts, model).forest.importances()
    return pl.DataFrame(
        {
            "study": model.study,
            "trial": model.trial,
            "feature": [column.feature for column in shares],
            "view": [column.view for column in shares],
            "gain_frac": list(shares.values()),
        }
    )


def store_importances(writer: Writer, artifacts: Path, study: str, known: Sequence[Told]) -> None:
    """Write what every completed trial of `study` looks at, instead of what was written before."""
    frames = [importance_frame(artifacts, ModelId(study, told.trial)) for told in known if told.score is not None]
    if frames:
        writer.replace("lab.tree_importances", pl.concat(frames), "study = $study", study=study)
