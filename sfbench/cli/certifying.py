"""Behind `sfbench certify`: whether a speed-up does harm, as one sentence and an exit code."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

from sfbench.cli import comparing, defaults
from sfbench.cli.drawn_sides import SAMPLES, drawn, side_case
from sfbench.cli.exits import Exit
from sfbench.cli.sides import Asked
from sfbench.values.case import Request
from sfbench.values.metric_names import CORE

if TYPE_CHECKING:
    from sfbench.quality.certificate import ImageDifference
    from sfbench.quality.influences import Difference
    from sfbench.report.verdicts import Row

VISIBLE_PSNR = 30.0
"""Below it, in dB, people tell images apart."""
EXITS = {
    "identical": Exit.OK,
    "better": Exit.OK,
    "harmless": Exit.OK,
    "harmful": Exit.REGRESSION,
    "inconclusive": Exit.INCONCLUSIVE,
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What was found: the verdict, and everything it rests on.

    `limit`: the rise of the distance that is taken for harm. `rows`: speed and memory, candidate
    over baseline.
    """

    candidate: str
    baseline: str
    metric: str
    verdict: str
    limit: float
    images: ImageDifference
    quality: Difference
    rows: list[Row]


def certify(asked: Asked, shared: Request, harm: float, *, as_json: bool) -> Exit:
    """Print the certificate of `asked.b` against `asked.a`; 4 for harm, 6 where it is open."""
    if asked.quads:
        comparing.check_quads(asked.quads, 1)
    shared = dataclasses.replace(shared, samples=shared.samples or SAMPLES)
    catalogue = defaults.catalogue(asked.plugins, asked.disabled)
    cases = [side_case(text, shared, catalogue) for text in (asked.a, asked.b)]
    try:
        texts = (asked.a, asked.b)
        baseline, candidate = (
            drawn(text, case, asked, catalogue) for text, case in zip(texts, cases, strict=True)
        )
    except KeyboardInterrupt:
        print("interrupted: nothing was certified", file=sys.stderr)
        return Exit.INTERRUPTED
    from sfbench.quality.certificate import image_difference
    from sfbench.quality.paired import paired_change

    images = image_difference(candidate.images, baseline.images)
    change = paired_change(candidate.features, baseline.features, baseline.real)
    limit = harm * change.a
    found = Certificate(
        candidate=asked.b,
        baseline=asked.a,
        metric=baseline.metric,
        verdict=verdict(images, change, limit),
        limit=limit,
        images=images,
        quality=change,
        rows=[],
    )
    if asked.quads:
        print(sentence(found), file=sys.stderr)
        rows = comparing.live_rows(asked, dataclasses.replace(shared, measure="speed"))
        if rows is None:
            return Exit.INTERRUPTED
        found = dataclasses.replace(found, rows=rows)
    print(json.dumps(document(found), indent=1) if as_json else sentence(found))
    return Exit.SOME_FAILED if any(row.failure for row in found.rows) else EXITS[found.verdict]


def verdict(images: ImageDifference, change: Difference, limit: float) -> str:
    """Return the verdict: whether the distance rises by more than the limit, with 95 % certainty."""
    if images.identical and change.b == change.a:
        return "identical"
    if change.high < -limit:
        return "better"
    if change.high <= limit:
        return "harmless"
    return "harmful" if change.low > limit else "inconclusive"


def sentence(found: Certificate) -> str:
    """Return the certificate: the verdict in one sentence, then what it rests on."""
    change, images = found.quality, found.images
    share = 100 * found.limit / change.a if change.a else 0.0
    words = {
        "identical": "the same images, bit for bit",
        "better": f"better: {found.metric} falls by more than {share:g} %",
        "harmless": f"harmless: {found.metric} rises by less than {share:g} %",
        "harmful": f"harmful: {found.metric} rises by more than {share:g} %",
        "inconclusive": f"open: whether {found.metric} rises by {share:g} % cannot be told",
    }
    seen = ""
    if found.verdict in {"harmless", "inconclusive"}:
        seen = f" (a rise of {change.smallest:.2g} would have been seen)"
    if images.psnr is not None and images.psnr < VISIBLE_PSNR:
        seen += f"; the images of a seed are others, PSNR {images.psnr:.0f} dB"
    ratios = ", ".join(filter(None, map(ratio, found.rows)))
    psnr = "equal as 8-bit images" if images.psnr is None else f"PSNR {images.psnr:.1f} dB"
    quality = (
        f"quality  {change.a:.4g} -> {change.b:.4g}: {change.change:+.2g} "
        f"[{change.low:+.2g}, {change.high:+.2g}], {change.images:,} pairs of the same seed"
    )
    pixels = (
        f"images   {images.images} pairs: at most {images.largest:.1e} of the largest value apart, "
        f"{psnr}, at most {images.levels} of 255 levels"
    )
    told_of = f"{words[found.verdict]}{seen}{f'; {ratios}' if ratios else ''}"
    first = f"{found.candidate} in place of {found.baseline}: {told_of}."
    performance = (f"{kind(row):<8} {told(row)}" for row in found.rows)
    return "\n".join([first, quality, pixels, *performance])


def ratio(row: Row) -> str:
    """Return a row's ratio in words, or what is open; empty where it was not measured."""
    if row.result is None:
        return ""
    what = "as fast" if row.metric == CORE else "the memory"
    if row.verdict == "inconclusive":
        return f"open: {row.result.low:.3g} to {row.result.high:.3g} times {what}"
    return f"{row.result.ratio:.3g} times {what}"


def kind(row: Row) -> str:
    """Return what a row is about."""
    return "speed" if row.metric == CORE else "memory"


def told(row: Row) -> str:
    """Return a row's ratio with its interval, its verdict, and what was measured."""
    if row.result is None:
        return f"not measured: {row.failure or row.reason}"
    one = row.result
    return f"{one.ratio:.3g} [{one.low:.3g}, {one.high:.3g}]: {row.verdict} ({row.metric})"


def document(found: Certificate) -> dict[str, Any]:
    """Return the certificate as JSON."""
    change = found.quality
    from sfbench.report import verdicts

    return {
        "candidate": found.candidate,
        "baseline": found.baseline,
        "verdict": found.verdict,
        "metric": found.metric,
        "limit": found.limit,
        "quality": {
            "baseline": change.a,
            "candidate": change.b,
            "change": change.change,
            "low": change.low,
            "high": change.high,
            "smallest_change_seen": change.smallest,
            "pairs": change.images,
        },
        "images": dataclasses.asdict(found.images),
        "performance": [verdicts.document(row) for row in found.rows],
    }
