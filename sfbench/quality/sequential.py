"""When the sign of a difference is certain although one looks at it again and again.

Images are drawn until a confidence sequence of the difference excludes zero, or none are left. At a
level of 5 % the sequence errs at any of its looks in at most one of twenty comparisons, however many
looks there are: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory
and asymptotic confidence sequences" (arXiv 2103.06476, theorem 2.2), for the influence of each pair
of images. The real images are one draw for all looks: their part is an interval, and the two share
the level (union bound).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from statistics import NormalDist
from typing import Literal

from sfbench.quality.influences import Difference, Influences, difference, share_rows

ALPHA = 0.05
STEP = 1.25
"""Growth of the number of images from look to look."""
BATCH = 32
"""Numbers of images are multiples of it: features are computed in batches of so many."""
FEWEST = 256
PER_FEATURE = 4
"""Images per feature at the first look: from there on a Frechet distance can be debiased."""

Sign = Literal["higher", "lower", "same", "open"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The difference at one number of images, and the ends of the confidence sequence there."""

    images: int
    difference: Difference
    low: float
    high: float

    @property
    def sign(self) -> Sign:
        """Whether B is higher or lower than A, or the same to the last bit; else open."""
        if self.low == self.high == 0:
            return "same"
        if self.low > 0:
            return "higher"
        return "lower" if self.high < 0 else "open"


def first_look(width: int) -> int:
    """Return the number of images of the first look at a distance of `width` features."""
    return rounded(float(max(FEWEST, PER_FEATURE * width)))


def counts(width: int, most: int) -> Iterator[int]:
    """Yield the numbers of images at which is looked, up to `most`."""
    count = first_look(width)
    while count < most:
        yield count
        count = rounded(count * STEP)
    yield most


def rounded(count: float) -> int:
    """Return the next whole batch."""
    return math.ceil(count / BATCH) * BATCH


def until_certain(
    sides: Callable[[int], tuple[Influences, Influences]],
    width: int,
    most: int,
    alpha: float = ALPHA,
) -> Iterator[Look]:
    """Yield looks at B less A until the sign is certain, or `most` images are drawn.

    `sides` returns A and B of so many images each; `alpha`: the chance of an error at any look.
    """
    for count in counts(width, most):
        a, b = sides(count)
        found = look(a, b, count, first_look(width), alpha)
        yield found
        if found.sign != "open":
            return


def look(a: Influences, b: Influences, count: int, first: int, alpha: float = ALPHA) -> Look:
    """Return the difference with the ends of its confidence sequence; `first`: of the first look."""
    found = difference(a, b)
    drawn = b.own - a.own if share_rows(a.own, b.own, a.images == b.images) else None
    if drawn is not None:
        spread = float(drawn.std(ddof=1))
    else:
        spread = math.sqrt(float(a.own.var(ddof=1)) + float(b.own.var(ddof=1)))
    own = spread / math.sqrt(count)
    real = math.sqrt(max(found.error**2 - own**2, 0.0))
    level = alpha / 2 if real else alpha
    half = boundary(count, spread, PER_FEATURE * first, level)
    if real:
        half += NormalDist().inv_cdf(1 - (alpha - level) / 2) * real
    return Look(images=count, difference=found, low=found.change - half, high=found.change + half)


def boundary(count: int, spread: float, target: int, alpha: float) -> float:
    """Return the half width of the confidence sequence after `count` images.

    spread sqrt(2 (n r + 1) / (n^2 r) log(sqrt(n r + 1) / alpha)), with r chosen so that it is
    narrowest at `target` images.
    """
    log = -2 * math.log(alpha)
    rate = (log + math.log(1 + log)) / target
    scaled = count * rate + 1
    return spread * math.sqrt(2 * scaled / (count**2 * rate) * math.log(math.sqrt(scaled) / alpha))
