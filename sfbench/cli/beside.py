"""What lies beside the images of a container and is left out: said by every command that reads one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sfbench.data.container import Container

SHOWN = 3


def announce(flag: str, container: Container | None) -> None:
    """Report files, folders and labels beside the images that are not used."""
    for what, names in (container.beside() if container is not None else {}).items():
        if names:
            shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
            print(f"note: {flag}: {len(names)} {what}: {shown}", file=sys.stderr)
