"""Say how many mutants the tests killed, by module: python scripts/mutants.py [LEAST].

Reads what `mutmut run` left in mutants/. Ends with 1 where fewer than LEAST percent (85) of all were
killed; those that no test reaches count as not killed.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

FOLDER = Path("mutants")
LEAST = 85.0
KILLED = frozenset({1, 3, 24, -24, 36, 37, 152, 255, -9, -11})
"""Exit codes of mutmut's processes: a failing test, or one that crashes or never ends."""
UNREACHED = frozenset({5, 33})

least = float(sys.argv[1]) if len(sys.argv) > 1 else LEAST
total: Counter[str] = Counter()
print(f"{'module':<36} mutants  killed  survived  no test")
for file in sorted(FOLDER.rglob("*.meta")):
    codes = json.loads(file.read_text(encoding="utf-8"))["exit_code_by_key"].values()
    if not codes:
        continue
    found = Counter(
        "killed" if code in KILLED else "unreached" if code in UNREACHED else "survived"
        for code in codes
    )
    total += found
    name = str(file.relative_to(FOLDER)).removesuffix(".meta")
    print(
        f"{name:<36} {len(codes):>7}  {found['killed']:>6}  {found['survived']:>8}  "
        f"{found['unreached']:>7}"
    )
share = 100 * total["killed"] / max(total.total(), 1)
print(
    f"\n{total['killed']} of {total.total()} killed: {share:.1f} % (expected {least:g} % or more)"
)
sys.exit(share < least)
