"""The entry point: the one place where sfbench's errors become lines and exit codes."""

from __future__ import annotations

import errno
import io
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from sfbench.api.errors import PluginError, SfbenchError
from sfbench.cli import quick, signals
from sfbench.cli.exits import Exit

if TYPE_CHECKING:
    from sfbench.values.job import Launcher


SURROUNDINGS = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.EIO,
}  # fmt: skip
"""Errors of disks and permissions: not what a program can do wrong."""


def main(arguments: Sequence[str] | None = None, launcher: Launcher | None = None) -> None:
    """Run the command line: these arguments, or those of the process.

    `launcher`: how trials are started; None for processes of this machine.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        signals.end_as_interrupts()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal without a character gets its escape, not a traceback.
            stream.reconfigure(errors="backslashreplace")
    try:
        text = quick.answer(given)
        if text is not None:
            print(text)
            return
        from sfbench.cli.commands import app

        app(given, prog_name="sfbench", obj=launcher)
    except SfbenchError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        broken = isinstance(error, PluginError) or getattr(error, "about_plugins", False)
        sys.exit(Exit.PLUGIN if broken else Exit.USAGE)
    except BrokenPipeError:
        sys.exit(Exit.OK)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(Exit.INTERRUPTED)
    except Exception as error:  # noqa: BLE001  # the last net
        last_net(error)


def last_net(error: Exception) -> NoReturn:
    """End with an error that nothing expected: of disks and permissions a line, else a bug, whole."""
    if isinstance(error, OSError) and error.errno in SURROUNDINGS:
        name = f"{error.filename}: " if error.filename else ""
        print(f"error: {name}{error.strerror or error}", file=sys.stderr)
        sys.exit(Exit.USAGE)
    traceback.print_exception(error)
    print("error: this is a bug in sfbench; please report it with the lines above", file=sys.stderr)
    sys.exit(Exit.INTERNAL)
