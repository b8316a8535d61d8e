"""Every metric, declared once: unit, direction, label, family.

This is the only list of metrics: units, directions, table columns, marks of the best, verdicts
and their gates, rules of replay, the pairing of rows and `docs/metrics.md` derive from `METRICS`.
A metric whose name ends in brackets (`fd[cifar-cnn7]`, `memory.pool[0]`) is declared by the part
before them.
"""

from __future__ import annotations

from sfbench.values.metric import (
    MEBI,
    Column,
    Family,
    Metric,
    latencies,
    memory,
    quality,
    speed,
)
from sfbench.values.metric_names import (
    COLD_COMPILE,
    CORE,
    DEVICE_ALLOCATED,
    DEVICE_RESERVED,
    E2E,
    ENERGY,
    FD,
    FID,
    FLOPS,
    FWD,
    HOST_ABOVE_LOADED,
    HOST_PEAK,
    IS,
    KID,
    LATENCY,
    LATENCY_BATCH,
    MFU,
    MINIMUM_MEMORY,
    PARAMETERS,
    STAGE_MEMORY,
    STAGE_SECONDS,
    WARM_COMPILE,
    WEIGHTS,
)

GPU = "a GPU"
INCEPTION = "Inception-v3 with the published weights"
METRICS: tuple[Metric, ...] = (
    quality(
        FID,
        "Frechet distance of Inception-v3 features (arXiv 1706.08500)",
        "lower",
        needs=INCEPTION,
        inception=True,
        column=Column("FID"),
        judged=True,
    ),
    quality(
        FD,
        "Frechet distance of another extractor's features",
        "lower",
        column=Column("FD"),
        judged=True,
    ),
    quality(
        IS,
        "Inception Score: exp of the mean KL divergence (arXiv 1606.03498)",
        "higher",
        needs=INCEPTION,
        inception=True,
        column=Column("IS"),
        judged=True,
    ),
    speed(
        CORE,
        "images/s",
        "mapping and synthesis only; latents drawn beforehand",
        better="higher",
        column=Column("images/s"),
        moment=True,
        judged=True,
    ),
    speed(
        E2E,
        "images/s",
        "draw latents, synthesize, convert to bytes, copy to the host",
        better="higher",
        moment=True,
    ),
    *latencies(
        LATENCY,
        "batch 1",
        {
            "p50": Column("batch 1\np50 ms", 1000.0),
            "p90": Column("batch 1\np90 ms", 1000.0, wide_only=True),
        },
    ),
    *latencies(LATENCY_BATCH, "the case's batch", {}),
    speed(
        STAGE_SECONDS,
        "s",
        "seconds of one call of a part with the case's batch, p50",
        needs="a generator of several parts",
        better="lower",
        moment=True,
        bracketed=True,
    ),
    memory(WEIGHTS, "parameters and buffers", better="lower", exact=True),
    memory("memory.host_loaded", "resident memory after the model is built", better="lower"),
    memory(
        HOST_PEAK,
        "peak resident memory during calls",
        better="lower",
        column=Column("process MiB", 1 / MEBI, wide_only=True),
    ),
    memory(
        HOST_ABOVE_LOADED,
        "peak resident memory during calls, above the loaded model",
        better="lower",
        column=Column("call MiB", 1 / MEBI),
        moment=True,
        judged=True,
    ),
    memory("memory.host_peak_cold", "peak of build, first images and compilation", better="lower"),
    memory(
        "memory.device_requested_peak",
        "peak memory requested by tensors",
        better="lower",
        needs=GPU,
    ),
    memory(
        DEVICE_ALLOCATED,
        "peak memory allocated to tensors",
        better="lower",
        needs=GPU,
        column=Column("peak MiB", 1 / MEBI),
        moment=True,
        judged=True,
    ),
    memory(
        DEVICE_RESERVED,
        "peak memory reserved by the allocator",
        better="lower",
        needs=GPU,
        judged=True,
    ),
    memory(
        "memory.device_allocated_peak_cold",
        "peak of build, first images and compilation",
        better="lower",
        needs=GPU,
        moment=True,
    ),
    memory("memory.device_in_use", "memory in use on the whole device after the calls", needs=GPU),
    memory(
        STAGE_MEMORY,
        "peak of one call of a part above what was there before",
        needs="a generator of several parts",
        better="lower",
        bracketed=True,
    ),
    memory("memory.pool", "memory held by one allocator pool", needs="CUDA graphs", bracketed=True),
    memory(
        MINIMUM_MEMORY,
        "smallest memory limit in which the case still runs, by bisection",
        better="lower",
        needs="--min-memory",
    ),
    Metric(
        name=ENERGY,
        unit="J/image",
        family="energy",
        text="energy per image by hardware counters, idle power included",
        better="lower",
        needs="NVML or RAPL counters",
        moment=True,
    ),
    Metric(
        name=PARAMETERS,
        unit="",
        family="complexity",
        text="number of parameters; shared ones count once",
        column=Column("params M", 1e-6),
        exact=True,
    ),
    Metric(
        name=FLOPS,
        unit="FLOP/image",
        family="complexity",
        text="operations of matrix products and convolutions; a multiply-add is two",
        column=Column("GFLOP", 1e-9, wide_only=True),
        exact=True,
    ),
    speed("cold.import", "s", "from process start until torch is imported"),
    speed("cold.build", "s", "building the model and loading its weights"),
    speed("cold.first_call", "s", "first images, 3 seeds"),
    speed(
        COLD_COMPILE,
        "s",
        "compilation and the first batch with empty compiler caches",
        needs="a mode other than eager",
    ),
    speed(
        WARM_COMPILE,
        "s",
        "the same in a second process with the first one's caches",
        needs="a compile mode",
    ),
    speed("roofline.flops", "FLOP/s", "rate of the fastest of a few square matrix products"),
    speed("roofline.bandwidth", "bytes/s", "fastest of a few memory copies, reads plus writes"),
    speed(
        MFU,
        "",
        "counted operations per image x images/s (core) over the measured roofline",
        better="higher",
    ),
    speed("batch.max-fit", "images", "largest batch size that runs", better="higher"),
    speed("batch.best-throughput", "images", "batch size with the highest throughput"),
    Metric(
        name="difference.eager_fp32",
        unit="",
        family="check",
        text="largest difference of images from eager fp32, relative to their range",
        needs="another precision or mode",
    ),
    quality("fid_infinity", "FID extrapolated to infinitely many images", "lower", inception=True),
    quality("fd_infinity", "FD extrapolated to infinitely many images", "lower"),
    quality("sfid", "FID of spatial features", "lower", inception=True),
    quality("sfd", "FD of spatial features", "lower"),
    quality(
        KID,
        "kernel distance over subsets",
        "lower",
        needs=INCEPTION,
        inception=True,
        column=Column("KID", wide_only=True),
    ),
    quality(
        "kd",
        "kernel distance over subsets of another extractor's features",
        "lower",
        column=Column("KD", wide_only=True),
    ),
    quality("kid_whole", "kernel distance over all pairs", "lower", inception=True),
    quality("kd_whole", "kernel distance over all pairs, another extractor", "lower"),
    quality("is_single", "Inception Score over all images at once", "higher", inception=True),
    quality("class_score", "class score with another extractor's classifier", "higher"),
    quality("class_score_single", "class score over all images at once", "higher"),
    quality(
        "precision",
        "share of generated images inside the manifold of real ones",
        "higher",
        column=Column("precision", wide_only=True),
    ),
    quality(
        "recall",
        "share of real images inside the manifold of generated ones",
        "higher",
        column=Column("recall", wide_only=True),
    ),
    quality("density", "mean number of real neighborhoods that contain an image, over k", "higher"),
    quality(
        "coverage",
        "share of real images with a generated one in their neighborhood",
        "higher",
        column=Column("coverage", wide_only=True),
    ),
    quality("vendi", "effective number of distinct images", "higher"),
    quality(
        "authenticity", "share no closer to a real image than that is to other real ones", None
    ),
    quality("copies", "share of images suspected to copy a real image", "lower"),
    quality("kid_rbf", "kernel distance over all pairs, Gaussian kernel", "lower", inception=True),
    quality("kd_rbf", "the same with another extractor", "lower"),
    quality(
        "mind",
        "Monge Inception Distance: 3 D times the mean squared Wasserstein distance over random lines",
        "lower",
        inception=True,
    ),
    quality("monge", "the same with another extractor", "lower"),
    quality(
        "sliced_wasserstein", "sliced Wasserstein distance of order two, in closed form", "lower"
    ),
    quality(
        "mifid", "FID, divided where images lie near real ones (MiFID)", "lower", inception=True
    ),
    quality("mifd", "the same with another extractor", "lower"),
    quality(
        FWD,
        "Frechet wavelet distance: mean over 256 bands of wavelet packets (arXiv 2312.15289)",
        "lower",
        column=Column("FWD", wide_only=True),
    ),
    quality(
        "spectral_slope",
        "slope of the power spectrum, generated less real images; 0 is best",
        None,
    ),
    quality("realism", "median realism; above 1, inside the manifold of real images", "higher"),
    quality(
        "ppl",
        "perceptual path length (arXiv 1812.04948), by a card",
        "lower",
        needs="VGG16 and LPIPS with the published weights",
    ),
    quality("psnr", "peak signal-to-noise ratio of reconstructions, in dB", "higher"),
    quality("ssim", "structural similarity of reconstructions", "higher"),
    quality("ms_ssim", "structural similarity over five scales", "higher"),
    quality("lpips", "LPIPS of reconstructions (arXiv 1801.03924)", "lower"),
    quality("lpips_diversity", "mean LPIPS of pairs of images of one class", None),
    quality("rfid", "FID of reconstructions to their originals", "lower", inception=True),
    quality("rfd", "the same with another extractor", "lower"),
    quality("path_length", "the same with other weights", "lower"),
    quality("cmmd", "Gaussian kernel on CLIP embeddings, times 1000", "lower"),
    quality("mmd_rbf", "Gaussian kernel on another extractor's features, times 1000", "lower"),
    Metric(
        name="search.rate",
        unit="images/s",
        family="search",
        text="images/s in one attempt",
        moment=True,
    ),
    *(
        Metric(name=f"search.{name}", unit="bytes", family="search", text=text)
        for name, text in (
            ("data", "private writable memory in one attempt"),
            ("peak", "peak resident memory in one attempt"),
            ("reserved", "peak memory reserved in one attempt"),
        )
    ),
)
BY_NAME = {metric.name: metric for metric in METRICS}


def find_metric(name: str) -> Metric | None:
    """Return the declaration of a metric, None for a name that is not declared."""
    found = BY_NAME.get(name)
    if found is None and name.endswith("]"):
        found = BY_NAME.get(name.partition("[")[0])
        return found if found is not None and found.bracketed else None
    return found


def metric_of(name: str) -> Metric:
    """Return the declaration of a metric; raises KeyError for a name that is not declared."""
    found = find_metric(name)
    if found is None:
        msg = f"metric {name} is not declared in sfbench/values/metrics.py"
        raise KeyError(msg)
    return found


def of_family(name: str, family: Family) -> bool:
    """Return whether a metric is declared and of that family."""
    found = find_metric(name)
    return found is not None and found.family == family


def is_distance(name: str) -> bool:
    """Return whether a metric is the Frechet distance of this project's own protocol.

    For Inception-v3 it is called `fid` without brackets, of wavelet packets `fwd`; other protocols
    are in brackets.
    """
    return name in {FID, FWD} or (name.endswith("]") and name.partition("[")[0] == FD)


def is_headline(name: str) -> bool:
    """Return whether comparisons give a verdict on a metric of quality: distances, and IS."""
    return is_distance(name) or name == IS


def is_own(name: str) -> bool:
    """Return whether a metric of quality is of this project's own protocol, over all classes.

    Names of other protocols, and of one class, hold a second part in their brackets.
    """
    found = find_metric(name)
    if found is None or found.family != "quality":
        return False
    inside = name.partition("[")[2].rstrip("]")
    return "," not in inside and not (found.inception and inside)
