"""What Alpaca's SDK lacks, set from outside: time-outs, a budget, and an end of its own repetitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests

from cappuccino.errors import SourceError
from cappuccino.market.venues.transport import pace
from cappuccino.settings import AlpacaSettings


def tame(client: Any, settings: AlpacaSettings, before_request: Callable[[], None]) -> requests.Session:
    """Give a client of the SDK time-outs, and let it repeat nothing: ours see every failure. Returns its session.

    Raises SourceError when the SDK has no place any more to set either; only private names offer one.
    """
    session, retries = getattr(client, "_session", None), getattr(client, "_retry", None)
    if not isinstance(session, requests.Session) or not isinstance(retries, int):
        raise SourceError(
            "this version of alpaca-py keeps its session or its retries elsewhere, so that time-outs cannot be "
            "set; install one that pyproject.toml names: pip install 'alpaca-py>=0.44,<0.50'"
        )
    client._retry = 0
    pace(session, settings, before_request, settings.ca_bundle)
    return session
