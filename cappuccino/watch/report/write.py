"""The report: one HTML file that says everything, needs nothing else, and is there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cappuccino import __version__
from cappuccino.market.record import Queries
from cappuccino.settings import Settings
from cappuccino.watch import formats
from cappuccino.watch.plots import DARK, LIGHT, Theme, data_uri, png
from cappuccino.watch.report import desk, judgement, lab, record
from cappuccino.watch.report.frames import Frames, read_frames
from cappuccino.watch.report.page import SIMULATED_MARKET, Banner, Page, Picture, Section, Tile

TEMPLATE = "report.html.j2"
_LIVE = Banner("Live trading is switched on.", "A model that passes every gate may trade real money.", "alarm")


def write_report(found: Queries | Frames, settings: Settings, now: datetime, file: Path) -> Path:
    """Write the report as of `now` to `file` and return it; the old one stays until the new one is complete.

    `found` is what `read_frames` returned, or a reader to read it from. Drawing takes seconds: with frames,
    the warehouse can be closed by then. Raises WarehouseError when it cannot be read.
    """
    frames = found if isinstance(found, Mapping) else read_frames(found, settings)
    return store(render(frames, settings, now), file)


def store(html: str, file: Path) -> Path:
    """Write a page to `file` in one step, and return it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    with part.open("w", encoding="utf-8") as out:
        out.write(html)
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)
    return file


def render(found: Frames, settings: Settings, now: datetime) -> str:
    """Return the page for what was found in the warehouse (`read_frames`)."""
    simulated = is_simulated(found, settings)
    return html_of(
        Page(
            "Cappuccino",
            f"As of {formats.text('now_utc', now)} UTC · profile {settings.profile}",
            simulated,
            (SIMULATED_MARKET,) * simulated + (_LIVE,) * settings.live.enabled,
            tuple(tiles(found, now)),
            tuple(sections(found, settings)),
        )
    )


def html_of(page: Page) -> str:
    """Return `page` as HTML that needs no other file."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(source=_source, light=LIGHT, dark=DARK)
    return environment.get_template(TEMPLATE).render(page=page, version=__version__)


def is_simulated(found: Frames, settings: Settings) -> bool:
    """Return whether any bar is invented: by configuration, or left from an earlier one."""
    return settings.is_simulated or "simulated" in found["freshness"]["source"].to_list()


def sections(found: Frames, settings: Settings) -> Iterator[Section]:
    """Yield the sections of the page in order."""
    simulated = is_simulated(found, settings)
    yield desk.stages(found)
    yield desk.production(found, simulated)
    yield judgement.believed(found, simulated)
    yield desk.accounts(found, simulated)
    yield desk.verdicts(found)
    yield desk.decisions(found)
    yield lab.arena(found, settings.arena.streak, simulated)
    yield lab.leaderboard(found, simulated)
    yield lab.timeframes(found, simulated)
    yield lab.study(found, simulated)
    yield lab.learning(found, simulated)
    yield record.data(found, simulated)
    yield record.profile(settings)
    yield record.glossary()


def tiles(found: Frames, now: datetime) -> Iterator[Tile]:
    """Yield the figures at the top: who trades, how it goes, and how fresh the record is."""
    model = desk.producer(found)
    yield Tile("In production", model or "nobody yet")
    account = found["performance"].filter(model == desk.MODEL) if model else found["performance"].clear()
    for row in account.iter_rows(named=True):
        for name, column, note in (
            ("Return", "total_return_frac", "since its account opened"),
            ("Alpha", "alpha_frac", "above buy-and-hold"),
            ("Max drawdown", "max_drawdown_frac", "after costs"),
        ):
            yield Tile(name, formats.text(column, row[column]), note, formats.tone(column, row[column]))
    yield from judgement.tiles(found)
    n_complete = int(found["studies"]["n_complete"].sum())
    yield Tile("Agents trained", f"{n_complete:,}", f"in {found['studies'].height:,} studies")
    until = found["freshness"]["known_until_utc"].min()
    if isinstance(until, datetime):
        yield Tile("Bars until", f"{until:%Y-%m-%d}", f"{until:%H:%M} UTC, {formats.age(now - until)} ago")


def _source(picture: Picture, theme: Theme) -> str:
    return data_uri(png(picture.draw(theme)))
