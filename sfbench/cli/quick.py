"""`list` and `plugins` without Typer, whose option parsing imports pydantic: 100 ms less.

Anything but their own plain flags is left to Typer, which says what is wrong or shows the help.
"""

from __future__ import annotations

from collections.abc import Sequence

from sfbench.cli import defaults, listing

VALUED = ("--plugin", "--no-plugin")


def answer(arguments: Sequence[str]) -> str | None:
    """Return the text of a plain `list` or `plugins` command, or None for any other command line."""
    command, *rest = arguments or [""]
    values: dict[str, list[str]] = {name: [] for name in VALUED}
    words: list[str] = []
    as_json = False
    while rest:
        word = rest.pop(0)
        if word in VALUED and rest:
            values[word].append(rest.pop(0))
        elif word == "--json":
            as_json = True
        elif word.startswith("-"):
            return None
        else:
            words.append(word)
    if command not in {"list", "plugins"} or len(words) > (command == "list"):
        return None
    catalogue = defaults.catalogue(values["--plugin"], values["--no-plugin"])
    if command == "plugins":
        return listing.plugins(catalogue, as_json=as_json)
    return listing.listed(catalogue, words[0] if words else "models", as_json=as_json)
