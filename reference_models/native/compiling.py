"""The process that compiles the kernels: python -m reference_models.native.compiling FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

from torch.utils import cpp_extension

from reference_models.native.library import FLAGS, HERE, NAME, SOURCES


def main(folder: str) -> None:
    """Compile the library into an empty folder."""
    cpp_extension.load(
        NAME,
        [str(Path(HERE, source)) for source in SOURCES],
        extra_cflags=list(FLAGS),
        build_directory=folder,
        is_python_module=False,
    )


if __name__ == "__main__":
    main(sys.argv[1])
