"""The summary frame as LaTeX: booktabs, intervals, clear winners in bold."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from sfbench.report.columns import Column, emphasized, filled, with_interval
from sfbench.report.numbers import ABSENT
from sfbench.report.row_text import described, heading, is_several, same_basis

SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    character: f"\\{character}" for character in "&%$#_{}"
}


def latex(frame: pd.DataFrame) -> str:
    """Return one table environment per set of comparable rows; needs the package booktabs."""
    several = is_several(frame)
    parts = [environment(part, frame, machine=several) for part in same_basis(frame)]
    return "% \\usepackage{booktabs}\n" + "\n".join(parts)


def environment(part: pd.DataFrame, rows: pd.DataFrame, *, machine: bool) -> str:
    """Return the table of those rows whose numbers are comparable."""
    shown = filled(part)
    marked = emphasized(rows, shown)
    lines = [r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{ll{'r' * len(shown)}}}"]
    headers = ["model", "how", *(column.title for column in shown)]
    lines += [r"\toprule", f"{' & '.join(map(escaped, headers))} \\\\", r"\midrule"]
    for index, row in part.iterrows():
        cells = [escaped(row["model"]), escaped(described(row))]
        for column in shown:
            text = cell(column, row)
            cells.append(rf"\textbf{{{text}}}" if index in marked[column.header] else text)
        lines.append(f"{' & '.join(cells)} \\\\")
    caption = escaped(heading(part, machine=machine).replace("\n", ", "))
    lines += [
        r"\bottomrule",
        r"\end{tabular}",
        rf"\caption{{{caption}; brackets: 95\,\% intervals}}",
    ]
    return "\n".join([*lines, r"\end{table}", ""])


def cell(column: Column, row: Any) -> str:
    """Return a value with its interval, or a dash."""
    text, bounds = with_interval(column, row)
    if bounds is not None:
        return f"{text} [{', '.join(bounds)}]"
    return "--" if text == ABSENT else escaped(text)


def escaped(text: str) -> str:
    """Return text with LaTeX's special characters escaped."""
    plain = text.replace("±", "+-").replace("·", "/")
    return re.sub(r"[\\~^&%$#_{}]", lambda found: SPECIAL[found.group()], plain)
