"""Commands whose flags mean what they say: one that takes one value is given once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from sfbench.api.errors import UsageError


class Once(TyperCommand):
    """A command that refuses a repeated flag, of which otherwise the last would count."""

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
