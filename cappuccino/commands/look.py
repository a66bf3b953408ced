"""Commands that look: report, doctor, config."""

from __future__ import annotations

import json
from typing import Any

import click

from cappuccino.commands.common import as_json_option, json_text, present, settings_of, warehouse_of
from cappuccino.settings import Group, Settings


@click.command()
@as_json_option
@click.pass_context
def report(ctx: click.Context, as_json: bool) -> None:
    """Write the HTML report of the warehouse as it stands and print its path."""
    from cappuccino.watch.report import read_frames, write_report

    settings = settings_of(ctx)
    warehouse = warehouse_of(settings)
    with warehouse.read() as reader:
        now = present(reader)
        found = read_frames(reader, settings)
    file = write_report(found, settings, now, settings.warehouse / "report.html")
    click.echo(json_text({"report": file.absolute()}) if as_json else str(file.absolute()))


@click.command()
@as_json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check environment, warehouse, configuration, source and disk, and say what to do."""
    from dataclasses import asdict

    from cappuccino.clock import SystemClock
    from cappuccino.watch.doctor import examine

    findings = examine(settings_of(ctx), SystemClock().now())
    if as_json:
        click.echo(json_text([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            mark = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}[finding.status]
            click.echo(f"{mark}  {finding.subject}: {finding.found}")
            if finding.advice and finding.status != "ok":
                click.echo(f"      -> {finding.advice}")
    if any(finding.status == "fail" for finding in findings):
        ctx.exit(1)


@click.command()
@as_json_option
@click.pass_context
def config(ctx: click.Context, as_json: bool) -> None:
    """Show every configuration key with its value and meaning, as a cappuccino.toml."""
    settings = settings_of(ctx)
    if as_json:
        click.echo(json_text(settings.model_dump(mode="json")))
        return
    click.echo(_toml(settings))


def _toml(settings: Settings) -> str:
    lines = [f"{name} = {_value(str(getattr(settings, name)))}" for name in ("profile", "warehouse")]
    for name in type(settings).model_fields:
        group = getattr(settings, name)
        if isinstance(group, Group):
            lines += _table(name, group)
    return "\n".join(lines)


def _table(path: str, group: Group) -> list[str]:
    lines, deeper = ["", f"[{path}]"], []
    plain = group.model_dump(mode="json")
    for name, field in type(group).model_fields.items():
        value = getattr(group, name)
        if isinstance(value, Group):
            deeper += _table(f"{path}.{name}", value)
            continue
        lines += [f"# {line}" for line in (field.description or "").splitlines()]
        lines.append(f"{name} = {_value(plain[name])}" if value is not None else f"# {name} = (not set)")
    return [*lines, *deeper]


def _value(plain: Any) -> str:
    """Return a string, number, flag or list as TOML, which writes them as JSON does."""
    return json.dumps(plain, ensure_ascii=False)
