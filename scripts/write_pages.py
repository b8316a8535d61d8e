"""Write the generated parts of docs/: python scripts/write_pages.py.

Tables stand in pages of prose; commands.md, api.md and schemas/ are generated as a whole.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import typer.main

from sfbench import api
from sfbench.cli.commands import app
from sfbench.run.plan_file import SCHEMA as PLAN_SCHEMA
from sfbench.run.plan_file import PlanDocument
from sfbench.trial import steps_page
from sfbench.values import flags, metrics_page
from sfbench.values.records import SCHEMA, Record, StoredCase, StoredProvenance

DOCS = Path(__file__).parents[1] / "docs"
TABLES = {
    "metrics.md": metrics_page.markdown(),
    "steps.md": steps_page.markdown(),
    "measuring.md": flags.markdown(),
}
COMMANDS = """# Commands, flag by flag

Generated from the command line itself. [Commands](cli.md) says what they do, with examples.
"""
API = """# sfbench.api

All that a plugin may import, and a public promise: names are removed only in a new major version.
Importing it imports neither torch nor pandas. Generated from the docstrings.
"""


def replaced(text: str, table: str) -> str:
    """Return a page with the table, or all from the first heading on, as the code has it now."""
    first = table.splitlines()[0]
    head, _, rest = text.partition(f"\n{first}\n")
    if first.startswith("#"):
        return f"{head}\n{table}"
    lines = rest.splitlines(keepends=True)
    after = next(
        (place for place, line in enumerate(lines) if not line.startswith("|")), len(lines)
    )
    return f"{head}\n{table}{''.join(lines[after:])}"


def commands() -> str:
    """Return the page of all commands, their arguments and their flags."""
    lines = [COMMANDS]
    for name, command in flattened(typer.main.get_command(app), ""):
        lines += [f"## {name}", "", (command.help or "").strip(), ""]
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        words = ["sfbench", name, *(one.name.upper() for one in arguments), "[FLAGS]"]
        lines += ["```text", " ".join(words), "```", ""]
        rows = [(f"`{one.name.upper()}`", text_of(one), "") for one in arguments]
        rows += [
            (
                " ".join(f"`{word}`" for word in (*one.opts, *one.secondary_opts)),
                text_of(one),
                default_of(one),
            )
            for one in command.params
            if one.param_type_name == "option" and not getattr(one, "hidden", False)
        ]
        lines += ["| flag | meaning | default |", "| --- | --- | --- |"]
        lines += [
            f"| {flag} | {text} | {default} |".replace("  |", " |") for flag, text, default in rows
        ]
        lines.append("")
    return "\n".join(lines)


def flattened(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield every command with its whole name, groups taken apart."""
    for name in sorted(group.commands):
        command = group.commands[name]
        whole = f"{prefix} {name}".strip()
        if hasattr(command, "commands"):
            yield from flattened(command, whole)
        else:
            yield whole, command


def text_of(parameter: Any) -> str:
    """Return the help of a flag as the cell of a table."""
    return (getattr(parameter, "help", None) or "").replace("|", "\\|").replace("\n", " ")


def default_of(parameter: Any) -> str:
    """Return a default that says something; empty for none, and where the help says it."""
    value = parameter.default
    if not value or callable(value) or isinstance(value, bool):
        return ""
    return "" if "[default" in text_of(parameter) else f"`{value}`"


def api_page() -> str:
    """Return the page of the public interface: every name, documented by its docstring."""
    homes: Mapping[str, str] = api.HOMES
    lines = [API]
    for home in dict.fromkeys(homes[name] for name in sorted(homes, key=lambda one: homes[one])):
        lines += [f"## {home.replace('_', ' ').capitalize()}", ""]
        for name in sorted(one for one in homes if homes[one] == home):
            value = getattr(api, name)
            kind = "autoclass" if isinstance(value, type) else "autofunction"
            if not isinstance(value, type) and not callable(value):
                kind = "autodata"
            members = "\n   :members:" if kind == "autoclass" else ""
            lines += ["```{eval-rst}", f".. {kind}:: sfbench.api.{home}.{name}{members}", "```", ""]
    return "\n".join(lines)


def schemas() -> dict[str, str]:
    """Return the JSON schemas by file: of a record with its parts that readers rely on, of a plan."""
    (document, case, provenance), parts = msgspec.json.schema_components(
        [Record, StoredCase, StoredProvenance], ref_template="#/$defs/{name}"
    )
    defs: dict[str, Any] = dict(parts)
    defs["Record"]["properties"]["case"] = case
    defs["Record"]["properties"]["provenance"] = provenance
    defs["Record"]["properties"]["schema"] = {"const": SCHEMA}
    record = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"record-{SCHEMA}.json",
        "title": f"A record of sfbench, schema {SCHEMA}",
        **document,
        "$defs": cleaned(defs),
    }
    (plan,), parts = msgspec.json.schema_components([PlanDocument], ref_template="#/$defs/{name}")
    plan_file = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"plan-file-{PLAN_SCHEMA}.json",
        "title": f"A plan of sfbench, schema {PLAN_SCHEMA}",
        **plan,
        "$defs": cleaned(parts),
    }
    found = {f"record-{SCHEMA}.json": record, f"plan-file-{PLAN_SCHEMA}.json": plan_file}
    return {name: json.dumps(one, indent=1, sort_keys=True) + "\n" for name, one in found.items()}


def cleaned(value: Any) -> Any:
    """Return a schema with its descriptions as Python 3.13 keeps docstrings: without indentation."""
    if isinstance(value, list):
        return [cleaned(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: inspect.cleandoc(one)
        if name == "description" and isinstance(one, str)
        else cleaned(one)
        for name, one in value.items()
    }


def pages() -> dict[Path, str]:
    """Return every generated page as it should be, by its path."""
    found = {
        DOCS / name: replaced((DOCS / name).read_text(encoding="utf-8"), table)
        for name, table in TABLES.items()
    }
    found |= {DOCS / "commands.md": commands(), DOCS / "api.md": api_page()}
    return found | {DOCS / "schemas" / name: text for name, text in schemas().items()}


def main() -> None:
    """Write the pages."""
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
