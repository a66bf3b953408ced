"""How requests of both SDKs leave: each within the budget, and none without a time-out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from cappuccino.errors import ConfigError
from cappuccino.settings import CallSettings


class PacedAdapter(HTTPAdapter):
    """Asks `before_request` first, and sets time-outs where the SDK has none.

    The read time-out is the longest silence that is borne, not the longest answer.
    """

    def __init__(
        self, settings: CallSettings, before_request: Callable[[], None], ca_bundle: Path | None = None
    ) -> None:
        super().__init__()
        self._ca_bundle = str(ca_bundle) if ca_bundle else None
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
        # `verify` of the session would lose against REQUESTS_CA_BUNDLE, and what is set here is meant.
        verify = self._ca_bundle or verify
        return super().send(request, stream, timeout or self._timeout_s, verify, cert, dict(proxies or {}))


def pace(
    session: requests.Session,
    settings: CallSettings,
    before_request: Callable[[], None],
    ca_bundle: Path | None = None,
) -> None:
    """Send everything of `session` through a PacedAdapter; raises ConfigError when `ca_bundle` is no file."""
    if ca_bundle and not ca_bundle.is_file():
        raise ConfigError(f"ca_bundle {ca_bundle} is no file; correct it, or leave it out for the usual authorities")
    for scheme in ("https://", "http://"):
        session.mount(scheme, PacedAdapter(settings, before_request, ca_bundle))
