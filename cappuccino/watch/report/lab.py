"""Sections about the search for agents: arena, leaderboard, timeframes and the study."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType

import polars as pl

from cappuccino.watch import plots
from cappuccino.watch.report.frames import QUERIES, Frames
from cappuccino.watch.report.page import Section, grid, picture

_RANK = (
    "rank",
    "subject",
    "family",
    "stage",
    "sharpe_annualized",
    "holdout_sharpe_annualized",
    "total_return_frac",
    "alpha_frac",
    "max_drawdown_frac",
    "exposure_frac",
    "trades_per_month",
    "collapsed",
)
_LEARNED = (
    "trial",
    "state",
    "score",
    "collapsed",
    "flags",
    "n_updates",
    "steps_per_s",
    "reward_mean",
    "entropy",
    "explained_variance",
    "grad_norm",
    "exposure_frac",
    "turnover_frac",
    "saturation_frac",
    "action_spread",
)
_COLLAPSE = MappingProxyType(
    {
        "cash": "never traded",
        "constant": "wanted the same on every bar",
        "held": "traded on one bar only",
    }
)
_MATCH = ("sequence", "played_at_utc", "champion", "challenger", "result", "winner")


def arena(frames: Frames, streak: int, simulated: bool) -> Section:
    """Show who stands in the arena and what was fought."""
    title, entrants, matches = "Arena", frames["ladder"], frames["matches"]
    if entrants.is_empty():
        return Section("arena", title, ("Nobody has entered the arena yet.",))
    counts: dict[str, int] = dict(entrants.group_by("state").len().iter_rows())
    champion = entrants.filter(pl.col("state") == "champion")
    standing = (
        f"{champion['model'][0]} stands in the arena with {champion['wins'][0]} of {streak} wins."
        if champion.height
        else "Nobody stands in the arena now."
    )
    others = (
        f"{counts.get('waiting', 0):,} wait, {counts.get('eliminated', 0):,} are eliminated for good, "
        f"{counts.get('left', 0):,} left by promotion or retirement."
    )
    draw = partial(plots.ladder, entrants, streak, simulated=simulated)
    pictures = (picture("Wins of each model beside the streak that promotes", draw),)
    if matches.is_empty():
        return Section("arena", title, (standing, others, "No match has been played yet."), pictures)
    fought = matches.with_columns(
        result=pl.format("{} : {}", "champion_wins", "challenger_wins"),
        winner=pl.col("winner").fill_null("draw, the champion stays"),
    )
    last = f"{matches.height:,} matches, the newest first; windows won by champion and challenger:"
    return Section("arena", title, (standing, others, last), pictures, (grid(fought, _MATCH, QUERIES["matches"]),))


def leaderboard(frames: Frames, simulated: bool) -> Section:
    """Rank agents and baselines together by their walk-forward Sharpe."""
    title, ranks = "Leaderboard", frames["leaderboard"]
    if ranks.is_empty():
        return Section("leaderboard", title, ("No training trial has been completed yet.",))
    n_agents = int((~ranks["is_baseline"]).sum())
    sentences = [f"{n_agents:,} completed agents of {ranks['study'][0]}, on bars they had not trained on."]
    for column, where in (("sharpe_annualized", ""), ("holdout_sharpe_annualized", " in the holdout")):
        best = ranks.filter(pl.col("is_baseline"))[column].max()
        if best is not None:
            n_better = ranks.filter(~pl.col("is_baseline") & (pl.col(column) > best)).height
            sentences.append(f"{n_better:,} of them did better than every baseline{where}.")
    draw = partial(plots.leaderboard, ranks, simulated=simulated)
    table = grid(ranks, _RANK, "select * from lab.leaderboard", mark=pl.col("is_baseline"), n_shown=20)
    pictures = (picture("Sharpe of the best agents beside the baselines", draw),)
    return Section("leaderboard", title, tuple(sentences), pictures, (table,))


def timeframes(frames: Frames, simulated: bool) -> Section:
    """Show how each pair of interval and lookback did."""
    title, pairs = "Timeframe search", frames["timeframes"]
    if pairs.is_empty():
        return Section("timeframes", title, ("No timeframe search has begun yet.",))
    winner = pairs.filter(pl.col("is_winner"))
    sentence = (
        f"{winner['interval'][0]} bars with a lookback of {winner['lookback'][0]} won; training uses them."
        if winner.height
        else "The search is not decided yet."
    )
    draw = partial(plots.timeframes, pairs, simulated=simulated)
    columns = ("interval", "lookback", "n_started", "n_complete", "mean_score", "best_score", "is_winner")
    table = grid(pairs, columns, "select * from lab.timeframes", mark=pl.col("is_winner"))
    return Section("timeframes", title, (sentence,), (picture("Mean score of each pair", draw),), (table,))


def study(frames: Frames, simulated: bool) -> Section:
    """Show how far the studies are, and the newest one trial by trial."""
    title, studies = "Studies", frames["studies"]
    if studies.is_empty():
        return Section("studies", title, ("No study has begun yet.",))
    draw = partial(plots.progress, frames["trials"], simulated=simulated)
    columns = ("study", "kind", "state", "trial_cap", "n_started", "n_complete", "n_pruned", "n_failed")
    grids = [grid(studies, (*columns, "best_score", "trial_minutes"), QUERIES["studies"])]
    importances = frames["importances"]
    if importances.height:
        which = ("parameter", "importance_frac", "n_trials")
        grids.append(grid(importances, which, "select * from lab.importances"))
    return Section("studies", title, (), (picture("Score of each trial", draw),), tuple(grids))


def learning(frames: Frames, simulated: bool) -> Section:
    """Show how the trials of the newest study learned, and whose policy has given up deciding."""
    title, trials = "Learning", frames["figures"]
    if trials.is_empty():
        return Section("learning", title, ("No training has told of its updates yet.",))
    sentences = (
        _collapses(trials["collapsed"]),
        "Figures are means over the last quarter of each training's updates; flags say what usually goes wrong.",
    )
    draw = partial(plots.learning, frames["learning"], simulated=simulated)
    table = grid(trials, _LEARNED, QUERIES["figures"], mark=pl.col("collapsed").is_not_null())
    return Section("learning", title, sentences, (picture("Figures of every update", draw),), (table,))


def _collapses(collapsed: pl.Series) -> str:
    counts = {way: collapsed.eq(way).sum() for way in _COLLAPSE}
    if not any(counts.values()):
        return "No policy has collapsed: on validation bars each of them decides."
    ways = ", ".join(f"{n:,} {_COLLAPSE[way]}" for way, n in counts.items() if n)
    return f"{sum(counts.values()):,} of {len(collapsed):,} trials collapsed on validation bars: {ways}."
