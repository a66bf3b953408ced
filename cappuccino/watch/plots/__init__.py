"""Pictures: pure functions from a frame to a matplotlib figure, one per question.

    market    closes, coverage
    lab       timeframes, progress, leaderboard, ladder
    learning  learning
    judgement decay
    desk      equity, drawdown, exposure
    replay    growth, drawdown, production: the pictures of a replay, imported by module
    backtest  growth, drawdown, exposure, months, trades, parts, luck: those of a backtest, imported by module
    thresholds heat: measures over two thresholds, imported by module
    study     convergence, importances, seeds, ablation, worst: the pictures of a study's analysis, imported by module
    canvas    Theme (LIGHT, DARK), png, markdown

No figure touches matplotlib's global state, none fails on an empty frame, and each says `simulated market`
when told.
"""

from cappuccino.watch.plots.canvas import DARK, LIGHT, Theme, data_uri, markdown, png
from cappuccino.watch.plots.desk import drawdown, equity, exposure
from cappuccino.watch.plots.judgement import decay
from cappuccino.watch.plots.lab import ladder, leaderboard, progress, timeframes
from cappuccino.watch.plots.learning import learning
from cappuccino.watch.plots.market import closes, coverage

__all__ = [
    "DARK",
    "LIGHT",
    "Theme",
    "closes",
    "coverage",
    "data_uri",
    "decay",
    "drawdown",
    "equity",
    "exposure",
    "ladder",
    "leaderboard",
    "learning",
    "markdown",
    "png",
    "progress",
    "timeframes",
]
