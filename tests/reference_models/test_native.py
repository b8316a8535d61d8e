"""The native kernels beside torch's operations in double precision, alone and in whole models."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from reference_models.equalized import initialize
from reference_models.native import NativeKernelsError, library, use_native
from reference_models.resampling import upsample2d
from reference_models.styleformer import Styleformer
from reference_models.styleformer_c import StyleformerC, StyleformerCConfig
from reference_models.styleformer_config import StyleformerConfig
from reference_models.tokens import map_to_tokens, tokens_to_map

pytestmark = [pytest.mark.xdist_group("native"), pytest.mark.usefixtures("native_library")]
OPERATIONS: Any = torch.ops.styleformer
THREADS = (1, 2, 3, 7)
Tensors = dict[str, Tensor | None]


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def layer_by_torch(x: Tensors, heads: int, clamp: float | None) -> Tensor:
    """Return what `mix` computes, in the precision of what is given."""
    q, k, v = (
        one.unflatten(2, (heads, -1)).transpose(1, 2) for one in (x["h"] @ x["q"], x["k"], x["v"])
    )
    scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[3])
    y: Tensor = (scores.softmax(3) @ v).transpose(1, 2).flatten(2) @ x["w"]
    if x["residual"] is not None:
        y = y + x["residual"] @ x["u"]
    y = y + x["bias"]
    y = F.leaky_relu(y if x["noise"] is None else y + x["noise"], 0.2)
    return y if clamp is None else y.clamp(-clamp, clamp)


def layer_by_kernels(
    x: Tensors, heads: int, clamp: float | None, out: Tensor | None = None
) -> Tensor:
    assert x["h"] is not None
    assert x["w"] is not None
    found = torch.empty(*x["h"].shape[:2], x["w"].shape[2]) if out is None else out
    keys, longest = OPERATIONS.pack_keys(x["k"], heads)
    assert x["k"] is not None
    factor = math.log2(math.e) / math.sqrt(x["k"].shape[2] // heads)
    OPERATIONS.mix(
        x["h"],
        OPERATIONS.pack(x["q"], None, factor),
        keys,
        longest,
        OPERATIONS.pack(x["v"], None, 1),
        OPERATIONS.pack(x["w"], None, 1),
        x["residual"],
        None if x["residual"] is None else OPERATIONS.pack(x["u"], None, 1),
        x["bias"],
        x["noise"],
        clamp,
        found,
    )
    return found


def drawn(
    batch: int,
    tokens: int,
    keys: int,
    shape: tuple[int, int] = (64, 64),
    *,
    residual: bool = True,
    noise: bool = True,
    size: float = 1.0,
    seed: int = 0,
) -> Tensors:
    source = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=source)

    channels, outputs = shape
    root = channels**0.5
    return {
        "h": draw(batch, tokens, channels),
        "q": draw(batch, channels, channels) / root * size,
        "k": draw(batch, keys, channels),
        "v": draw(batch, keys, channels),
        "w": draw(batch, channels, outputs) / root,
        "residual": draw(batch, tokens, channels) if residual else None,
        "u": draw(batch, channels, outputs) / root,
        "bias": draw(outputs),
        "noise": draw(tokens, 1) if noise else None,
    }


def double(x: Tensors) -> Tensors:
    return {name: None if one is None else one.double() for name, one in x.items()}


def error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


SHAPES = ((16, 16, 1), (64, 64, 2), (256, 64, 8), (64, 32, 4), (96, 16, 2))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("keys", [1, 77, 256, 1024])
def test_a_layer_is_that_of_double_precision_from_any_number_of_threads(
    batch: int, keys: int
) -> None:
    for number, (tokens, shape) in enumerate(itertools.product((1, 5, 47, 300), SHAPES)):
        channels, outputs, heads = shape
        x = drawn(
            batch,
            tokens,
            keys,
            (channels, outputs),
            residual=number % 3 > 0,
            noise=number % 4 > 0,
            seed=number,
        )
        clamp = (None, 1.0, 256.0)[number % 3]
        found = layer_by_kernels(x, heads, clamp)
        assert error(found, layer_by_torch(double(x), heads, clamp)) < 3e-6
        for threads in THREADS:
            torch.set_num_threads(threads)
            assert torch.equal(found, layer_by_kernels(x, heads, clamp))


@pytest.mark.parametrize("size", [0.1, 4.0, 10.0, 100.0, 1000.0])
def test_large_scores_are_as_exact_as_torchs(size: float) -> None:
    x = drawn(1, 500, 256, size=size)
    exact = layer_by_torch(double(x), 2, None)
    theirs = error(layer_by_torch(x, 2, None), exact)
    assert error(layer_by_kernels(x, 2, None), exact) < max(2e-6, 2 * theirs)


def test_a_layer_may_overwrite_its_own_input() -> None:
    x = drawn(2, 500, 256)
    expected = layer_by_kernels(x, 2, 256.0)
    whole = torch.zeros(2, 700, 64)
    part = whole[:, 100:600]
    part.copy_(x["h"])  # type: ignore[arg-type]  # it is there
    found = layer_by_kernels(x | {"h": part}, 2, 256.0, part)
    assert found.data_ptr() == part.data_ptr()
    assert torch.equal(part, expected)
    assert not whole[:, :100].any()
    assert not whole[:, 600:].any()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["h", "v", "residual", "noise"])
def test_what_is_not_finite_is_where_torch_has_it(name: str, bad: float) -> None:
    x = drawn(1, 40, 77)
    given = x[name]
    assert given is not None
    given.view(-1, given.shape[-1])[3, 0] = bad
    found, expected = layer_by_kernels(x, 2, None), layer_by_torch(x, 2, None)
    assert torch.equal(found.isfinite(), expected.isfinite())
    assert torch.equal(found.isnan(), expected.isnan()) or math.isinf(bad)


@pytest.mark.parametrize(("channels", "side"), [(64, 64), (16, 32), (256, 16)])
@pytest.mark.parametrize("doubled", [False, True])
def test_entering_is_doubling_position_modulation_normalization_and_projection(
    channels: int, side: int, *, doubled: bool
) -> None:
    source = torch.Generator().manual_seed(0)
    tokens = side * side
    half = torch.randn(2, tokens // 4, channels, generator=source)
    position = torch.randn(1, tokens, channels, generator=source) if doubled else None
    style, rows = (torch.randn(n, m, generator=source) for n, m in ((2, channels), (256, tokens)))
    whole = map_to_tokens(upsample2d(tokens_to_map(half.double())))
    summed = whole if position is None else whole + position
    expected = F.layer_norm(summed * style.double().unsqueeze(1), (channels,), eps=1e-5)
    results = []
    for threads in THREADS:
        torch.set_num_threads(threads)
        h, projected = torch.full((2, tokens, channels), math.nan), torch.zeros(2, 256, channels)
        for first, last in ((0, 4 * side), (4 * side, tokens)):
            given = half if doubled else whole[:, first:last].float().contiguous()
            OPERATIONS.enter(given, doubled, position, style, first, last, h)
            OPERATIONS.project(rows[:, first:last], h[:, first:last], projected)
        results.append((h, projected))
    h, projected = results[0]
    assert error(h, expected) < 1e-5
    assert error(projected, rows.double() @ expected) < 3e-6
    for others in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], others, strict=True))


def model_of(**changes: Any) -> Styleformer:
    config = StyleformerConfig(
        **({"widths": (256, 64, 64, 64), "layers": (1, 2, 1, 1), "linformer": True} | changes)
    )
    model = Styleformer(config).eval().requires_grad_(requires_grad=False)
    initialize(model, torch.Generator().manual_seed(0))
    for name, parameter in model.named_parameters():
        if name.endswith(("noise_strength", "pos_embedding")):
            parameter.data.fill_(0.1)
    return model


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"linformer": False, "widths": (256, 64, 16), "layers": (1, 2, 2)},
        {"style_injection": "shared", "position_encoding": "sinusoidal", "clamp": None},
        {"widths": (64, 32, 24, 16), "head_width": 16, "layers": (1, 1, 1, 1)},
    ],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_images_are_those_of_torchs_operations(changes: dict[str, Any], batch: int) -> None:
    """The last case has layers that the kernels do not fit, which stay as they are."""
    model = model_of(**changes)
    z = torch.randn(batch, 512, generator=torch.Generator().manual_seed(1))
    noise = [
        torch.randn(batch, *shape, generator=torch.Generator().manual_seed(2))
        for shape in model.noise_shapes
    ]
    with torch.inference_mode():
        expected = model(z), model(z, noise=noise), model(z, noise="none")
        use_native(model)
        found = model(z), model(z, noise=noise), model(z, noise="none")
    for ours, theirs in zip(found, expected, strict=True):
        assert error(ours, theirs) < 5e-6
        assert not torch.equal(ours, theirs)


def test_styleformer_c_goes_on_from_the_tokens_of_the_kernels() -> None:
    low = StyleformerConfig(widths=(64, 32, 32), layers=(1, 1, 1))
    model = StyleformerC(StyleformerCConfig(low=low, resolution=64, channel_base=1024))
    initialize(model.eval().requires_grad_(requires_grad=False), torch.Generator().manual_seed(0))
    z = torch.randn(2, 512, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model(z)
        use_native(model)
        assert error(model(z), expected) < 5e-6


def test_with_gradients_torchs_operations_are_used() -> None:
    model = model_of(widths=(32, 16), layers=(1, 1), linformer=False)
    z = torch.randn(1, 512)
    expected = model(z)
    use_native(model)
    assert torch.equal(model(z), expected)


def test_what_the_kernels_cannot_compute_is_refused() -> None:
    for changes in ({"pre_norm": "none"}, {"residual": "identity"}, {"feed_forward": True}):
        with pytest.raises(NativeKernelsError, match="no layer of this model fits them"):
            use_native(model_of(**changes))
    model = model_of(widths=(32, 16), layers=(1, 1), linformer=False)
    use_native(model)
    z = torch.randn(1, 512)
    with (
        torch.inference_mode(),
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(NativeKernelsError, match="they compute in float32"),
    ):
        model(z)
    with pytest.raises(RuntimeError, match="widths must be multiples of 16"):
        layer_by_kernels(drawn(1, 6, 16), 8, None)


def test_a_model_with_kernels_can_be_copied_and_sent_to_another_process() -> None:
    model = model_of(widths=(32, 16), layers=(1, 1), linformer=False)
    use_native(model)
    z = torch.randn(1, 512, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model(z)
        assert torch.equal(copy.deepcopy(model)(z), expected)
        assert torch.equal(pickle.loads(pickle.dumps(model))(z), expected)  # noqa: S301  # made above
    kernels = pickle.dumps(model.synthesis.b8_0.enc.kernels)
    code = f"import pickle, torch; pickle.loads({kernels!r}); torch.ops.styleformer.mix"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_compiler_or_processor_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    target = library.folder() / "some.so"
    assert target.parent == tmp_path
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(NativeKernelsError, match="there is no compiler no-such-compiler"):
        library.compile_to(target)
    compiler = tmp_path / "compiler"
    compiler.write_text(
        '#!/bin/sh\ncase "$*" in *.cpp*) echo "mix.cpp:1:1: fatal error: no such header"; exit 1;; '
        'esac\nexec c++ "$@"\n'
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    # Where it looks for modules has nothing to do with the folders of plugins and of the user.
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "json.py").write_text("")
    monkeypatch.syspath_prepend(str(plugins))
    monkeypatch.chdir(plugins)
    with pytest.raises(NativeKernelsError, match=r"could not compile them: .*no such header"):
        library.compile_to(target)
    assert sorted(tmp_path.iterdir()) == [compiler, plugins]
    monkeypatch.setattr(library, "loaded", lambda: False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    with pytest.raises(NativeKernelsError, match="need a processor with AVX2; torch found DEFAULT"):
        library.load()


def test_a_damaged_library_is_compiled_again_and_a_strangers_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    damaged = tmp_path / f"{library.NAME}-{library.digest()}.so"
    damaged.write_bytes(b"")
    compiled: list[Path] = []

    def compile_to(target: Path) -> None:
        compiled.append(target)
        target.write_bytes(b"a library")

    def opened(path: str) -> None:
        if not Path(path).read_bytes():
            raise OSError(path)

    monkeypatch.setattr(library, "compile_to", compile_to)
    found = iter([False, True])
    monkeypatch.setattr(library, "loaded", lambda: next(found))
    monkeypatch.setattr(torch.ops, "load_library", opened)
    library.load()
    assert compiled == [damaged]
    damaged.chmod(0o666)
    monkeypatch.setattr(library, "loaded", lambda: False)
    with pytest.raises(NativeKernelsError, match="others may write to it"):
        library.load()
