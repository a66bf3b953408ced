from __future__ import annotations

import pickle
from dataclasses import fields

from cappuccino.rl.figures import Figures, Progress


def test_progress_comes_back_from_plain_values() -> None:
    figures = Figures(*(0.1 * n for n in range(len(fields(Figures)))))
    progress = Progress(update=3, figures=figures, n_env_steps=64, duration_s=0.25)
    plain = progress.to_dict()
    assert plain["figures"]["kl"] == figures.kl
    assert Progress.from_dict(plain) == progress == pickle.loads(pickle.dumps(progress))
