"""Which code made a model."""

from __future__ import annotations

import hashlib
from functools import cache
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
