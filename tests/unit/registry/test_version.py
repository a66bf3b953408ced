from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from cappuccino import __version__
from cappuccino.registry import version
from cappuccino.registry.version import code_version

NEEDED = ("__init__.py", "registry/__init__.py", "registry/version.py")
PACKAGE = Path(version.__file__).parents[1]


def told_by_a_process(folder: Path) -> str:
    """What the package in `folder` says about itself."""
    program = "from cappuccino.registry.version import code_version; print(code_version())"
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); {program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def copied(to: Path) -> Path:
    for name in NEEDED:
        file = to / "cappuccino" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGE / name, file)
    return to


def test_a_version_names_release_and_sources() -> None:
    assert re.fullmatch(re.escape(__version__) + r"\+[0-9a-f]{12}", code_version())
    assert told_by_a_process(PACKAGE.parent) == code_version()


def test_equal_sources_are_equal_versions_wherever_they_lie(tmp_path: Path) -> None:
    first, second = copied(tmp_path / "a"), copied(tmp_path / "b")
    (second / "notes.md").write_text("not a source file")
    assert told_by_a_process(first) == told_by_a_process(second)


def test_another_line_or_another_file_is_another_version(tmp_path: Path) -> None:
    told = [told_by_a_process(copied(tmp_path))]
    (tmp_path / "cappuccino/new.py").write_text("")
    told.append(told_by_a_process(tmp_path))
    (tmp_path / "cappuccino/new.py").write_text("x = 1\n")
    told.append(told_by_a_process(tmp_path))
    (tmp_path / "cappuccino/new.py").rename(tmp_path / "cappuccino/renamed.py")
    told.append(told_by_a_process(tmp_path))
    assert len(set(told)) == 4
