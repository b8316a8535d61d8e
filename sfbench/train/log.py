"""The log of a run: one line of JSON per tick, and the same numbers for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfbench.store.training_runs import LINES, read_lines


class RunLog:
    """Appends to a run's log; lines beyond the saved state are removed when a run resumes."""

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / LINES
        folder.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read_lines(folder) if line["step"] <= step]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        self.path.write_text(text, encoding="utf-8")
        self.board = board(folder, step)

    def add(self, line: Mapping[str, Any]) -> None:
        """Append a line: `step`, `kimg`, and numbers or None."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.board is not None:
            for name, value in line.items():
                if isinstance(value, int | float) and name != "step":
                    self.board.add_scalar(name, value, line["step"])
            self.board.flush()

    def close(self) -> None:
        """End the writer for TensorBoard, which has a thread of its own."""
        if self.board is not None:
            self.board.close()


def board(folder: Path, step: int) -> Any:
    """Return a writer for TensorBoard, or None if the package tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # an optional dependency
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step)
