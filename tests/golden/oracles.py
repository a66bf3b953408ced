"""The golden figures of other libraries, and the inputs that they were made from."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def golden() -> dict[str, Any]:
    """Return tests/golden/oracles.json; its `made_by` makes it anew."""
    found: dict[str, Any] = json.loads((ROOT / "tests/golden/oracles.json").read_text())
    return found


def inputs() -> ModuleType:
    """Return benchmarks/peers/oracles/inputs.py."""
    spec = importlib.util.spec_from_file_location("oracle_inputs", ROOT / "benchmarks/peers/oracles/inputs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
