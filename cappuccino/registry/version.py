"""Which code made a model."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

from cappuccino import __version__


@cache
def code_version() -> str:
    """Return the version with a hash of every source file of the library: other code, other version."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.blake2b(digest_size=6)
    for file in sorted(root.rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode())
        digest.update(file.read_bytes())
    return f"{__version__}+{digest.hexdigest()}"


PACKAGES = ("torch", "numpy", "optuna", "polars", "duckdb", "pandas", "pandas-ta-classic", "lightgbm")
"""What the bits of a result may depend on."""


@cache
def package_versions() -> dict[str, str]:
    """Return the versions of Python, of the processor's kind and of every package that results may depend on."""
    return {"python": platform.python_version(), "machine": platform.machine()} | {p: version(p) for p in PACKAGES}
