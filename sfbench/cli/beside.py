"""What lies beside the images of a container and is left out: said by every command that reads one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sfbench.api.errors import printable

if TYPE_CHECKING:
    from sfbench.data.container import Container


def announce(flag: str, container: Container | None) -> None:
    """Report files, folders and labels beside the images that are not used."""
    for what, found in (container.beside() if container is not None else {}).items():
        if found.count:
            shown = ", ".join(found.shown) + (", ..." if found.count > len(found.shown) else "")
            print(f"note: {flag}: {found.count} {what}: {printable(shown)}", file=sys.stderr)
