"""The machine under it: Python, the installed libraries, disk space and files that hold secrets."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from cappuccino.watch.doctor.finding import Finding, fail, ok, warn

OLDEST_PYTHON = (3, 11)
NAMED = ("torch", "duckdb", "dagster", "polars", "optuna")
_MB = 1_000_000


def python(version: Sequence[int]) -> Finding:
    """Judge the Python `version`, such as `sys.version_info`."""
    found = ".".join(str(number) for number in version[:3])
    if tuple(version[:2]) < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        return fail("python", f"{found}, older than {oldest}", f"install Python {oldest} or newer")
    return ok("python", found)


def installed(library: str) -> str | None:
    """Return the version of an installed distribution, without importing it."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def required() -> list[str]:
    """Return what Cappuccino's own metadata asks for; empty when it runs without being installed."""
    try:
        return metadata.requires("cappuccino") or []
    except metadata.PackageNotFoundError:
        return []


def libraries(requirements: Sequence[str], version_of: Callable[[str], str | None]) -> Finding:
    """Judge the installed libraries by the versions that were asked for; optional ones do not count."""
    if not requirements:
        return warn(
            "libraries",
            "Cappuccino is not installed, so the versions it needs are unknown",
            "run `pip install -e .` in its folder",
        )
    needed = [r for r in map(Requirement, requirements) if r.marker is None or r.marker.evaluate({"extra": ""})]
    wrong = list(_wrong(needed, version_of))
    if wrong:
        return fail("libraries", "; ".join(wrong), "run `pip install -e .` in Cappuccino's folder")
    named = ", ".join(f"{name} {version_of(name)}" for name in NAMED if version_of(name))
    return ok("libraries", f"{len(needed)} as required ({named})")


def disk(folder: Path, min_free_mb: int, free_bytes: Callable[[Path], int] | None = None) -> Finding:
    """Judge the free space of the disk that holds `folder`, which need not exist yet."""
    place = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    free_mb = (free_bytes or _free_bytes)(place) // _MB
    if free_mb < min_free_mb:
        return fail(
            "disk",
            f"{free_mb:,} MB are free at {place}, training needs {min_free_mb:,} MB",
            f"free some space there, move the warehouse, or lower training.min_free_disk_mb ({min_free_mb})",
        )
    return ok("disk", f"{free_mb:,} MB are free at {place}")


def secrets(file: Path) -> Finding:
    """Judge who may read the file of environment variables."""
    if not file.is_file():
        return ok("secrets", f"no {file}")
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return fail("secrets", f"{file} may be used by others (mode {mode:03o})", f"run `chmod 600 {file}`")
    return ok("secrets", f"{file} is private (mode {mode:03o})")


def _wrong(needed: Sequence[Requirement], version_of: Callable[[str], str | None]) -> Iterator[str]:
    for requirement in needed:
        version = version_of(requirement.name)
        if version is None:
            yield f"{requirement.name} is missing"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} {version} is not {requirement.specifier}"


def _free_bytes(place: Path) -> int:
    return shutil.disk_usage(place).free
