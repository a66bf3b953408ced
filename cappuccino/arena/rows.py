"""Matches as rows of the warehouse, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from cappuccino.arena.result import MatchResult, Pairing, WindowScore
from cappuccino.clock import require_utc
from cappuccino.registry.identity import ModelId


def match_row(match: MatchResult) -> dict[str, Any]:
    """Return one row; models are STUDY/TRIAL, windows JSON text; the winner is None after a draw."""
    windows = [
        {**asdict(w), "start_utc": w.start_utc.isoformat(), "stop_utc": w.stop_utc.isoformat()} for w in match.windows
    ]
    return {
        "match_id": match.pairing.match_id,
        "sequence": match.pairing.sequence,
        "champion": str(match.pairing.champion),
        "challenger": str(match.pairing.challenger),
        "winner": str(match.winner) if match.winner else None,
        "champion_wins": match.champion_wins,
        "challenger_wins": match.challenger_wins,
        "score": match.score,
        "windows": json.dumps(windows, allow_nan=False),
        "seed": match.pairing.seed,
        "played_at_utc": match.played_at_utc,
    }


def match_of(row: Mapping[str, Any]) -> MatchResult:
    """Return the match in a row of `match_row`."""
    champion, challenger = ModelId.parse(row["champion"]), ModelId.parse(row["challenger"])
    windows = tuple(
        WindowScore(
            start_utc=datetime.fromisoformat(w["start_utc"]),
            stop_utc=datetime.fromisoformat(w["stop_utc"]),
            champion_score=w["champion_score"],
            challenger_score=w["challenger_score"],
        )
        for w in json.loads(row["windows"])
    )
    pairing = Pairing(champion, challenger, row["sequence"])
    return MatchResult(pairing, row["score"], windows, require_utc(row["played_at_utc"]))
