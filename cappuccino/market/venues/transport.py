"""How requests of both SDKs leave: each within the budget, and none without a time-out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from cappuccino.settings import CallSettings


class PacedAdapter(HTTPAdapter):
    """Asks `before_request` first, and sets time-outs where the SDK has none.

    The read time-out is the longest silence that is borne, not the longest answer.
    """

    def __init__(self, settings: CallSettings, before_request: Callable[[], None]) -> None:
        super().__init__()
        self._timeout_s = (settings.connect_timeout_s, settings.read_timeout_s)
        self._before_request = before_request

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send one request; raises what `requests` raises."""
        self._before_request()
        return super().send(request, stream, timeout or self._timeout_s, verify, cert, dict(proxies or {}))


def pace(session: requests.Session, settings: CallSettings, before_request: Callable[[], None]) -> None:
    """Send everything of `session` through a PacedAdapter."""
    for scheme in ("https://", "http://"):
        session.mount(scheme, PacedAdapter(settings, before_request))
