"""Indicators of the catalogue that cannot be features, each with the reason that the operator reads."""

from __future__ import annotations

_SIGNALS = "turns another indicator into signals; configure that indicator"
_OTHER_SERIES = "compares two series; correlation_N among the extras does so with BTC"
_LOOKS_AHEAD = "uses bars after the one it describes"
_ACCUMULATES = "accumulates from the first bar of the record, so that its level means nothing"

REFUSED: dict[str, str] = {
    "ma": "chooses among moving averages; configure one of them, such as ema_20",
    "mavp": "needs a second series of periods",
    "long_run": _SIGNALS,
    "short_run": _SIGNALS,
    "tsignals": _SIGNALS,
    "xsignals": _SIGNALS,
    "beta": _OTHER_SERIES,
    "correl": _OTHER_SERIES,
    "tos_stdevall": _LOOKS_AHEAD,
    "vp": _LOOKS_AHEAD,
    "ad": _ACCUMULATES,
    "aobv": _ACCUMULATES,
    "drawdown": _ACCUMULATES,
    "nvi": _ACCUMULATES,
    "obv": _ACCUMULATES,
    "pvi": _ACCUMULATES,
    "pvt": _ACCUMULATES,
    "wad": _ACCUMULATES,
}
