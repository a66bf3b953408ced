"""The kill switch: a file in the trader's folder, which anybody can make with nothing but a shell.

    <desk>/KILL            no order that opens or enlarges a position is sent while it is there
    <desk>/KILL.done       how far the trader has got in obeying it
    <desk>/switches.jsonl  who set and cleared it, and why

ANY file called KILL kills, an empty or unreadable one too; what cannot be read asks for no flattening.
"""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cappuccino.clock import require_utc
from cappuccino.errors import TraderError

KILL = "KILL"
DONE = "KILL.done"
HISTORY = "switches.jsonl"
LONGEST_BYTES = 65_536


@dataclass(frozen=True)
class Kill:
    """An order to stop trading."""

    at: datetime
    reason: str
    by: str
    flatten: bool = False
    """Sell everything as well."""


@dataclass(frozen=True)
class Obeyed:
    """How far the trader has got in obeying a kill."""

    kill_at: datetime
    """Which one: `Kill.at`."""
    at: datetime
    pid: int
    is_done: bool
    """Open orders are cancelled and, where that was asked for, everything is sold; False: it has seen the switch."""
    lines: tuple[str, ...] = ()
    """What was done, in words."""


def read_kill(folder: Path) -> Kill | None:
    """Return the order to stop, None without one. Never raises; whatever is wrong with the file means killed."""
    file = folder / KILL
    try:
        with file.open("rb") as opened:
            text = opened.read(LONGEST_BYTES)
    except FileNotFoundError:
        return _unreadable(file) if file.is_symlink() else None
    except OSError:
        return _unreadable(file)
    try:
        stored = json.loads(text)
        return Kill(_moment(stored["at"]), str(stored["reason"]), str(stored["by"]), stored["flatten"] is True)
    except (ValueError, KeyError, TypeError, RecursionError):
        return _unreadable(file)


def write_kill(folder: Path, kill: Kill) -> Kill:
    """Set the switch and return what is in force: a flattening once ordered stays ordered until the switch is cleared.

    Raises TraderError when nothing can be written there.
    """
    before = read_kill(folder)
    if before is not None and before.flatten and not kill.flatten:
        kill = Kill(kill.at, kill.reason, kill.by, flatten=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / KILL, json.dumps(_plain(kill)))
    except OSError as error:
        raise TraderError(
            f"the kill switch {folder / KILL} cannot be written: {error}; stop the trader by hand"
        ) from None
    remember(folder, "kill", _plain(kill))
    return kill


def clear_kill(folder: Path, reason: str, by: str, at: datetime) -> Kill | None:
    """Remove the switch and return what it was, None when it was not set; raises TraderError when it stays."""
    before = read_kill(folder)
    try:
        (folder / DONE).unlink(missing_ok=True)
        (folder / KILL).unlink(missing_ok=True)
        if before is not None:
            _sync(folder)
    except OSError as error:
        raise TraderError(f"{folder / KILL} cannot be removed: {error}; remove it by hand") from None
    if before is not None:
        remember(folder, "resume", {"at": at.isoformat(), "reason": reason, "by": by})
    return before


def write_obeyed(folder: Path, obeyed: Obeyed) -> None:
    """Tell whoever has set the switch how far it is obeyed."""
    write_whole(folder / DONE, json.dumps(_plain(obeyed)))


def read_obeyed(folder: Path, kill: Kill) -> Obeyed | None:
    """Return how far the trader has got with `kill`; None when it has not said anything about this one."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        stored = json.loads((folder / DONE).read_text())
        found = Obeyed(
            _moment(stored["kill_at"]),
            _moment(stored["at"]),
            int(stored["pid"]),
            stored["is_done"] is True,
            tuple(map(str, stored["lines"])),
        )
        return found if found.kill_at == kill.at else None
    return None


def history(folder: Path) -> list[dict[str, Any]]:
    """Return what was done to the switch, oldest first; lines that are damaged are left out."""
    found = []
    with suppress(FileNotFoundError):
        for line in (folder / HISTORY).read_text(errors="replace").splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
    return found


def operator() -> str:
    """Return who runs this process."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def write_whole(file: Path, text: str) -> None:
    """Replace `file`: whoever reads it, even after a power cut, finds the old text or the new one."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    with partial.open("w") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    partial.replace(file)
    _sync(file.parent)


def remember(folder: Path, what: str, details: Mapping[str, Any]) -> None:
    """Add a line to the history; the switch counts, not its history, so a full disk is no reason to fail."""
    with suppress(OSError), (folder / HISTORY).open("a") as opened:
        opened.write(json.dumps({"what": what, **details}) + "\n")


def _sync(folder: Path) -> None:
    """Make a rename or removal in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unreadable(file: Path) -> Kill:
    """Return the kill of a file without words: that of its last change, so that it is the same one at each look."""
    try:
        at = datetime.fromtimestamp(file.lstat().st_mtime, UTC)
    except OSError:
        at = datetime.fromtimestamp(0, UTC)
    return Kill(at, f"{file} is there, without a readable reason", "unknown")


def _moment(text: str) -> datetime:
    return require_utc(datetime.fromisoformat(text))


def _plain(message: Kill | Obeyed) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(message).items()
    }
