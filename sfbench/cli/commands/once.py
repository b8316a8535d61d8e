"""Commands whose flags mean what they say: one that takes one value is given once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup

from sfbench.api.errors import UsageError

OTHERS = "Other"
"""The heading of what has none of its own."""
GROUPS = {
    "Measure": (
        "demo",
        "run",
        "report",
        "compare",
        "certify",
        "frontier",
        "scaling",
        "lottery",
        "replay",
    ),
    "Images": ("quality", "explain", "panel", "diversity", "path-length", "reconstruct", "data"),
    "Models": ("list", "check", "sample", "inspect", "convert", "train", "plugins"),
    "Many machines": ("plan", "work", "status"),
    "Share": ("reproduce", "site", "export", "import", "doctor"),
}
"""The commands by heading, in the order of the help."""


class Grouped(TyperGroup):
    """The command line itself: its help shows commands under headings."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, heading by heading."""
        del ctx  # typer hands it over; the commands are known without it
        headed = {name for names in GROUPS.values() for name in names}
        rest = tuple(name for name in self.commands if name not in headed)
        width = max(map(len, self.commands), default=0)
        for heading, names in {**GROUPS, OTHERS: rest}.items():
            there = [name for name in names if name in self.commands]
            room = formatter.width - width - 6
            rows = [
                (f"{name:<{width}}", self.commands[name].get_short_help_str(room)) for name in there
            ]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


class Once(TyperCommand):
    """A command that refuses a repeated flag, of which otherwise the last would count.

    Its help shows flags under headings.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and flags, heading by heading."""
        found: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            is_argument = parameter.param_type_name == "argument"
            own = getattr(parameter, "rich_help_panel", None) or "Options"
            found.setdefault("Arguments" if is_argument else own, []).append(record)
        last = found.pop("Options", [])
        for heading, rows in (*found.items(), ("Options", last)):
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; raises UsageError for a flag of one value that is given twice."""
        end = args.index("--") if "--" in args else len(args)
        for parameter in self.params:
            if not getattr(parameter, "multiple", False):
                self.check(parameter.opts, args[:end])
        return super().parse_args(ctx, [*map(self.at_home, args[:end]), *args[end:]])

    @staticmethod
    def at_home(word: str) -> str:
        """Return --flag=~/path with the home in place of "~", which shells leave there."""
        flag, equals, value = word.partition("=")
        home = flag.startswith("--") and (value == "~" or value.startswith("~/"))
        return f"{flag}{equals}{Path(value).expanduser()}" if home else word

    @staticmethod
    def check(names: Sequence[str], args: Sequence[str]) -> None:
        """Raise UsageError where these names of one flag are given more than once."""
        given = [word for word in args if word.partition("=")[0] in names and word[:1] == "-"]
        if len(given) > 1:
            msg = f"{given[0].partition('=')[0]}: given {len(given)} times; expected once (lists: A,B)"
            raise UsageError(msg)
