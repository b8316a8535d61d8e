"""Check sfbench's metrics against files of reference numbers: `python verify_metrics.py FILE.npz...`.

One line a check: file, case, what was compared, the worst error, the tolerance, ok or FAILED. Exits
1 when any error is beyond its tolerance. Two kinds of file are known by their keys: features and
logits with the values of metrics packages, and images with their resized versions. A key that no
check knows fails, so that nothing is left out in silence.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sfbench.quality.frechet import frechet_distance
from sfbench.quality.inception_score import inception_score
from sfbench.quality.kernel import (
    RBF_SIGMA,
    GaussianKernel,
    cmmd,
    kernel_distance,
    subset_rows,
    whole_discrepancy,
)
from sfbench.quality.memorization import memorization_distance, nearness
from sfbench.quality.neighbors import Manifolds, manifolds, nearest_real, realism
from sfbench.quality.resizing import resized
from sfbench.quality.sliced import approximate_sliced_distance, monge_distance
from sfbench.quality.statistics import moments_of
from sfbench.quality.uncertainty import frechet_infinity
from sfbench.quality.vendi import vendi_score
from sfbench.values.pixels import QUANTIZERS

Arrays = Mapping[str, np.ndarray]
Check = tuple[str, float, float]
"""What was compared, the error, the tolerance."""

OFFSET = "f_large_offset"
"""A case with means of about 100, where the peers' float32 arithmetic is itself wrong."""
SPLITS = 10
SUBSETS = 20
SUBSET_SIZE = 200
FAR_BEYOND = 1e6
GRID = slice(3, None, 13)
RESIZED = {
    "cleanfid.PIL_F_float.bicubic": ("pil-bicubic", 5e-5),
    "cleanfid.legacy_pytorch.bilinear": ("torch-bilinear", 1e-5),
    "torch_fidelity.tf1_bilinear": ("tf1-bilinear", 0.0),
    "torchmetrics.bilinear_antialias": ("torch-bilinear-antialias", 1e-5),
    "dgm_eval.dinov2.PIL_uint8_bicubic": ("pil-uint8-bicubic", 0.0),
    "edm2.dinov2.torch_bicubic_antialias": ("torch-bicubic-antialias", 1e-5),
    "cleanfid.PIL_F_float.bilinear": ("pil-bilinear", 5e-5),
    "cleanfid.PIL_F_float.box": ("pil-box", 5e-5),
    "cleanfid.PIL_F_float.lanczos": ("pil-lanczos", 5e-5),
    "PIL_uint8.bicubic": ("pil-uint8-bicubic", 0.0),
    "PIL_uint8.box": ("pil-uint8-box", 0.0),
    "PIL_uint8.lanczos": ("pil-uint8-lanczos", 0.0),
    "PIL_uint8.bilinear": ("pil-uint8-bilinear", 0.0),
}
QUANTIZED = {
    "quant/nvidia_ada": "by-128",
    "quant/studiogan": "half-up",
    "quant/torchmetrics_normalize_true_on_clamped_0_1": "truncate",
}


class Case:
    """One case of a metrics file: its arrays, and the keys that checks have used."""

    def __init__(self, name: str, arrays: Arrays) -> None:
        self.name = name
        self.arrays = arrays
        self.used: set[str] = set()

    def has(self, key: str) -> bool:
        """Return whether the case holds this key."""
        return key in self.arrays

    def get(self, key: str) -> np.ndarray:
        """Return an array and note that it was used."""
        self.used.add(key)
        return self.arrays[key]

    def compare(self, key: str, found: float | list[float], tolerance: float) -> Check:
        """Return the check of a stored number or numbers: absolute error."""
        expected = np.asarray(self.get(key), dtype=np.float64)
        values = np.asarray(found, dtype=np.float64)
        worst = float(np.abs(values - expected).max())
        return key, worst if math.isfinite(worst) else math.inf, tolerance


def relative(case: Case, key: str, bound: float, least: float = 0.0) -> float:
    """Return an absolute tolerance from a relative one."""
    return max(bound * float(np.abs(case.arrays[key]).max()), least)


def frechet_checks(case: Case) -> Iterator[Check]:
    """Yield the Frechet distance against the exact value and every peer."""
    gen, real = case.get("gen"), case.get("real")
    first, second = moments_of(gen), moments_of(real)
    value = frechet_distance(first, second)
    yield "identical sets", abs(frechet_distance(first, first)), 1e-9
    for key in ("fid.exact_svd_f64", "fid.exact_mpmath40"):
        if case.has(key):
            yield case.compare(key, value, 1e-9)
    peers = ("torch_fidelity", "cleanfid", "pytorch_fid", "torchmetrics_formula")
    for key in (*(f"fid.{peer}" for peer in peers), "fd.dgm_eval_efficient"):
        if case.has(key):
            yield case.compare(key, value, frechet_bound(case, key))
    if case.has("fid.nvidia_ada_convention"):
        by_n = frechet_distance(moments_of(gen, 0), moments_of(real, 0))
        key = "fid.nvidia_ada_convention"
        singular = min(len(gen), len(real)) <= gen.shape[1]
        yield case.compare(key, by_n, 1e-3 if singular else frechet_bound(case, key))
    if case.has("fd_infinity.dgm_eval_rng0"):
        key = "fd_infinity.dgm_eval_rng0"
        yield case.compare(key, frechet_infinity(gen, second).value, frechet_bound(case, key))


def frechet_bound(case: Case, key: str) -> float:
    """Return how far a peer's Frechet distance may be: 1e-6 relative, 5e-5 in the offset case."""
    return 5e-5 if case.name == OFFSET else relative(case, key, 1e-6, 1e-9)


KERNEL_PEERS = {
    "kid.torch_fidelity.poly": ("numpy-generated-first", 2020, 3e-7),
    "kid.torch_fidelity_f64.poly": ("numpy-generated-first", 2020, 1e-12),
    "kid.cleanfid": ("numpy-generated-first", 0, 3e-7),
    "kid.cleanfid_f64": ("numpy-generated-first", 0, 1e-12),
    "kid.torchmetrics_seed0": ("torch-real-first", 0, 3e-7),
    "kd.dgm_eval_seed0": ("numpy-real-first", 0, 3e-7),
}


def kernel_checks(case: Case) -> Iterator[Check]:
    """Yield the kernel distance with every peer's draws, the draws themselves, and the whole sets."""
    gen, real = case.get("gen"), case.get("real")
    size = min(SUBSET_SIZE, len(gen), len(real))
    for key, (draws, seed, tolerance) in KERNEL_PEERS.items():
        # In the offset case values are 2e5 and the peers' float32 errs by 5-15 %.
        if not case.has(key) or (case.name == OFFSET and "f64" not in key):
            case.used |= {key} & set(case.arrays)
            continue
        found = kernel_distance(
            gen, real, subsets=SUBSETS, subset_size=size, seed=seed, draws=draws
        )
        stored = case.arrays[key]
        values = found.mean if stored.ndim == 0 else [found.mean, found.deviation or 0.0]
        bound = relative(case, key, 1e-9) if case.name == OFFSET else tolerance
        yield case.compare(key, values, bound)
    for peer, seed in (("torch_fidelity", 2020), ("cleanfid", 0)):
        if case.has(f"kid.{peer}.idx_gen"):
            rows = list(
                subset_rows(len(gen), len(real), SUBSETS, size, seed, "numpy-generated-first")
            )
            for side, place in (("gen", 0), ("real", 1)):
                key = f"kid.{peer}.idx_{side}"
                drawn = np.stack([pair[place] for pair in rows])
                yield key, float((drawn != case.get(key)).sum()), 0.0
    if case.has("kid.full_set_unbiased_poly_f64"):
        key = "kid.full_set_unbiased_poly_f64"
        whole = whole_discrepancy(gen, real).value
        # In the offset case even float64 loses digits there; here it does not.
        bound = 1e-9 if case.name == OFFSET else 1e-12
        yield case.compare(key, whole, relative(case, key, bound, 1e-12))
        exact = in_extended_precision(gen, real)
        if exact is not None:
            yield "kid in extended precision", abs(whole - exact), 1e-11 * max(abs(exact), 1e-2)
    yield from gaussian_checks(case, gen, real, size)
    if case.has("cmmd.l2normalised_f64"):
        yield case.compare("cmmd.l2normalised_f64", cmmd(gen, real).value, 1e-8)
    if case.has("cmmd.l2normalised"):
        # float32 there: its quantum is about 6e-5, times a thousand terms.
        yield case.compare("cmmd.l2normalised", cmmd(gen, real).value, 5e-4)


def gaussian_checks(case: Case, gen: np.ndarray, real: np.ndarray, size: int) -> Iterator[Check]:
    """Yield the kernel distance with torch-fidelity's Gaussian kernel."""
    for peer, bound in (("torch_fidelity", 1e-6), ("torch_fidelity_f64", 1e-10)):
        key = f"kid.{peer}.rbf"
        if case.has(key) and (case.name != OFFSET or "f64" in peer):
            found = kernel_distance(
                gen, real, subsets=SUBSETS, subset_size=size, kernel=GaussianKernel(RBF_SIGMA)
            )
            values = [found.mean, found.deviation or 0.0]
            yield case.compare(key, values, relative(case, key, bound, 1e-12))
        case.used |= {key} & set(case.arrays)


def in_extended_precision(gen: np.ndarray, real: np.ndarray) -> float | None:
    """Return the discrepancy of the cubic kernel by its definition; None where there is no such type."""
    if np.finfo(np.longdouble).eps > 1e-18:  # a 64-bit mantissa
        return None
    sets = [rows.astype(np.longdouble) for rows in (gen, real)]

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)

    within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in map(kernel, sets, sets)]
    return float(sum(within) - 2 * kernel(*sets).mean())


def four(found: Manifolds) -> list[float]:
    """Return precision, recall, density and coverage."""
    shares = (found.precision, found.recall, found.density, found.coverage)
    return [share.value for share in shares]


def neighbor_checks(case: Case) -> Iterator[Check]:
    """Yield precision, recall, density and coverage by both rules, and authenticity."""
    gen, real = case.get("gen"), case.get("real")
    for k in (3, 5):
        found = manifolds(gen, real, k=k)
        if case.has(f"prdc.k{k}"):
            yield case.compare(f"prdc.k{k}", four(found["<"]), 1e-12)
        for way in ("full", "part"):
            key = f"prc.torch_fidelity.k{k}.{way}"
            if case.has(key):
                two = four(found["<="])[:2]
                both = [*two, 2 * two[0] * two[1] / max(sum(two), 1e-12)]
                yield case.compare(key, both, 2e-2 if case.name == OFFSET else 1e-6)
    if case.has("authpct.dgm_eval"):
        share = 100 * float(nearest_real(gen, real).authentic.mean())
        # Which of equally near real images is "the nearest" is chance there, and float32.
        loose = case.name == OFFSET or "ties" in case.name
        yield case.compare("authpct.dgm_eval", share, 3.0 if loose else 1e-4)


def transport_checks(case: Case) -> Iterator[Check]:
    """Yield sliced distances, and the distance that counts memorized images."""
    gen, real = case.get("gen"), case.get("real")
    moments = moments_of(gen), moments_of(real)
    offset = case.name == OFFSET
    if case.has("mind.torch_fidelity_head_1000"):
        key = "mind.torch_fidelity_head_1000"
        # float32 there.
        bound = relative(case, key, 1e-5 if offset else 1e-6, 1e-9)
        yield case.compare(key, monge_distance(gen, real).value, bound)
    if case.has("sw_approx.dgm_eval"):
        key = "sw_approx.dgm_eval"
        found = approximate_sliced_distance(gen, moments[0], real, moments[1]).value
        yield case.compare(key, found, relative(case, key, 1e-3 if offset else 1e-5, 1e-9))
    if case.has("mifid.torchmetrics"):
        key = "mifid.torchmetrics"
        value = memorization_distance(frechet_distance(*moments), nearness(gen, real))
        yield case.compare(key, value, relative(case, key, 1e-6, 1e-9))
    if case.has("realism.dgm_eval.k3"):
        yield realism_check(case, "realism.dgm_eval.k3", realism(gen, real, k=3))


def realism_check(case: Case, key: str, found: np.ndarray) -> Check:
    """Return the check of an image's realism; on a real image it is noise there, infinite here."""
    expected = case.get(key).astype(np.float64)
    undefined = np.isnan(expected)
    on_real = found > FAR_BEYOND
    wrong = (np.isnan(found) != undefined).sum() + (on_real & ~(expected > FAR_BEYOND)).sum()
    kept = ~undefined & ~on_real
    apart = np.abs(found[kept] / np.where(expected[kept], expected[kept], 1) - 1)
    apart = np.where(expected[kept] == found[kept], 0, apart)
    worst = float(apart.max()) if kept.any() else 0.0
    return key, math.inf if wrong else worst, 1e-3 if case.name == OFFSET else 1e-6


def other_checks(case: Case) -> Iterator[Check]:
    """Yield the Vendi score, and distances a class."""
    gen = case.get("gen")
    if case.has("vendi.dgm_eval.gen"):
        key = "vendi.dgm_eval.gen"
        yield case.compare(key, vendi_score(gen).value, relative(case, key, 1e-4))
    if case.has("labels_gen"):
        real, own, theirs = case.get("real"), case.get("labels_gen"), case.get("labels_real")
        labels = range(len(case.arrays["fid_per_class.cleanfid"]))
        values = [
            frechet_distance(moments_of(gen[own == c]), moments_of(real[theirs == c]))
            for c in labels
        ]
        yield case.compare("fid_per_class.cleanfid", values, 1e-5)
        scores = [vendi_score(gen[own == c]).value for c in labels]
        key = "vendi_per_class.dgm_eval"
        yield case.compare(key, scores, relative(case, key, 1e-4))


def score_checks(case: Case) -> Iterator[Check]:
    """Yield the Inception Score in every peer's order and splits."""
    logits = case.get("logits")
    for splits in (1, SPLITS):
        for word, order in (("shuffle", "shuffled"), ("ordered", "stored")):
            key = f"isc.torch_fidelity.splits{splits}.{word}"
            if case.has(key):
                found = inception_score(logits, splits=splits, order=order)
                yield case.compare(key, [found.mean, found.deviation], 1e-10)
    stored = inception_score(logits, splits=SPLITS, order="stored")
    for key in ("isc.nvidia_ada_convention.splits10", "isc.adm_convention.split_size_n_over_10"):
        if not case.has(key):
            continue
        expected = case.get(key)
        if np.isnan(expected).any():
            yield f"{key} (nan there)", 0.0 if math.isfinite(stored.mean) else math.inf, 0.0
        else:
            values = stored.mean if expected.ndim == 0 else [stored.mean, stored.deviation]
            yield case.compare(key, values, 1e-5)
    key = "isc.torchmetrics_seed0.splits10"
    if case.has(key):
        found = inception_score(
            logits, splits=SPLITS, order="torch-shuffled", division="chunks", ddof=1, seed=0
        )
        yield case.compare(key, [found.mean, found.deviation], relative(case, key, 1e-6))


FEATURES: tuple[Callable[[Case], Iterator[Check]], ...] = (
    frechet_checks,
    kernel_checks,
    neighbor_checks,
    transport_checks,
    other_checks,
)


def metric_file(arrays: Arrays) -> Iterator[tuple[str, Check | str]]:
    """Yield the checks of a file of features and logits, and what was passed over."""
    names = list(dict.fromkeys(key.partition("/")[0] for key in arrays))
    for name in names:
        own = {k.partition("/")[2]: v for k, v in arrays.items() if k.startswith(f"{name}/")}
        case = Case(name, own)
        makers = FEATURES if "gen" in own else (score_checks,)
        for maker in makers:
            for check in maker(case):
                yield name, check
        for key in sorted(set(own) - case.used):
            yield name, f"{key}: UNKNOWN to every check"


def resize_file(arrays: Arrays) -> Iterator[tuple[str, Check | str]]:
    """Yield the checks of a file of images and their resized versions."""
    for key, expected in arrays.items():
        case, _, name = key.partition("/")
        if key in QUANTIZED:
            levels = torch.from_numpy(arrays["quant/input_minus1_1"].astype(np.float32))
            shaped = levels.reshape(1, 1, -1)
            found = QUANTIZERS[QUANTIZED[key]](shaped).reshape(expected.shape).numpy()
            yield case, (name, float(np.abs(found.astype(int) - expected.astype(int)).max()), 0.0)
            continue
        match = re.fullmatch(r"(.+)\.(\d+)", name)
        if match is None or match[1] not in RESIZED:
            if name not in {"image_uint8", "input_minus1_1"}:
                yield case, f"{name}: UNKNOWN to every check"
            continue
        image = torch.from_numpy(arrays[f"{case}/image_uint8"]).permute(2, 0, 1)[None]
        way, tolerance = RESIZED[match[1]]
        found = resized(image, way, int(match[2]))[0].permute(1, 2, 0).numpy()[GRID, GRID]
        worst = float(np.abs(found - expected).max()) if found.shape == expected.shape else math.inf
        yield case, (name, worst, tolerance)


def verify(path: Path) -> bool:
    """Print the checks of a file; return whether all hold."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    resizing = any(key.endswith("/image_uint8") for key in arrays)
    good, count = True, 0
    for case, check in resize_file(arrays) if resizing else metric_file(arrays):
        if isinstance(check, str):
            print(f"{path.name} {case} {check} FAILED")
            good = False
            continue
        what, error, tolerance = check
        passed = error <= tolerance
        good &= passed
        count += 1
        state = "ok" if passed else "FAILED"
        print(f"{path.name} {case} {what}: error {error:.1e} of {tolerance:.1e} {state}")
    if not count:
        print(f"{path.name}: holds nothing that is known FAILED")
    return good and count > 0


if __name__ == "__main__":
    # The last bit of torch's bilinear resizing depends on how rows are shared among threads.
    torch.set_num_threads(2)
    if len(sys.argv) == 1:
        sys.exit(__doc__)
    results = [verify(Path(name)) for name in sys.argv[1:]]
    sys.exit(not all(results))
