"""Convolutions by the native kernels beside torch's operations, and both beside double precision."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from reference_models import winograd
from reference_models.convolution import EqualizedConv2d
from reference_models.equalized import initialize
from reference_models.native import NativeKernelsError, use_native_convolutions
from reference_models.native.convolutions import NativeConvolutions
from reference_models.native.packing import pack
from sfbench.speed.operations import Counter

pytestmark = pytest.mark.xdist_group("native")
OPERATIONS: Any = torch.ops.styleformer
THREADS = (1, 2, 3)
Convolution = Callable[[Tensor, Tensor], Tensor]


class Calls(TorchDispatchMode):
    """Notes which kernels are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        if func.namespace == "styleformer":
            self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def kernels(native_library: None) -> NativeConvolutions:
    del native_library
    return NativeConvolutions()


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def error(found: Tensor, exact: Tensor) -> float:
    return ((found - exact).abs().max() / exact.abs().max()).item()


def by_tiles(kernels: NativeConvolutions) -> Convolution:
    return lambda x, weight: winograd.convolution(x, weight, kernels)


def everything(convolution: Convolution, *inputs: Tensor) -> list[Tensor]:
    """Return a convolution's values, both gradients, and the gradients of a penalty on them."""
    given = [tensor.clone().requires_grad_() for tensor in inputs]
    y = convolution(*given)
    first = torch.autograd.grad(y.sin().sum(), given, create_graph=True)
    penalty = first[0].square().mean() + first[1].square().mean()
    return [y, *first, *torch.autograd.grad(penalty, given)]


@pytest.mark.parametrize("channels", [128, 130])
@pytest.mark.parametrize("size", [(8, 16, 16), (3, 34, 62)])
def test_tiles_are_moved_to_the_bit(
    kernels: NativeConvolutions, size: tuple[int, int, int], channels: int
) -> None:
    """Whatever the layout of the map, and where the last channels are not a whole vector."""
    batch, height, width = size
    plain = drawn(batch, channels, height, width)
    for x in (plain, plain.contiguous(memory_format=torch.channels_last)):
        g = kernels.pixels(x)
        for top, bottom in winograd.bands(x, 128):
            d = winograd.BY_TORCH.cut(winograd.BY_TORCH.source(x), top, bottom)
            assert torch.equal(kernels.cut(kernels.source(x), top, bottom), d)
            spread = winograd.BY_TORCH.spread(g, top, bottom)
            assert torch.equal(kernels.spread(g, top, bottom), spread)
            found, expected = (torch.zeros(batch, height, width, channels) for _ in range(2))
            kernels.join(d, found, top, bottom)
            winograd.BY_TORCH.join(d.clone(), expected, top, bottom)
            assert torch.equal(found, expected)


@pytest.mark.parametrize(("channels", "outputs"), [(128, 144), (130, 134), (144, 130)])
def test_convolutions_and_their_derivatives_round_no_more_than_torchs(
    kernels: NativeConvolutions, channels: int, outputs: int
) -> None:
    x, weight = drawn(3, channels, 34, 62), drawn(outputs, channels, 3, 3, seed=1)
    assert winograd.pays(x, outputs)
    exact = everything(lambda a, b: F.conv2d(a, b, padding=1), x.double(), weight.double())
    usual = everything(winograd.convolution, x, weight)
    found = everything(by_tiles(kernels), x, weight)
    for mine, theirs, true in zip(found, usual, exact, strict=True):
        assert mine.shape == true.shape
        assert error(mine, true) <= 2 * error(theirs, true)


@pytest.mark.parametrize("size", [(2, 9, 9), (3, 34, 61), (1, 3, 4)])
@pytest.mark.parametrize(("channels", "outputs"), [(64, 80), (112, 64)])
def test_convolutions_at_half_the_size_and_their_derivatives(
    kernels: NativeConvolutions, channels: int, outputs: int, size: tuple[int, int, int]
) -> None:
    batch, height, width = size
    x, weight = drawn(batch, channels, height, width), drawn(outputs, channels, 3, 3, seed=1)
    exact = everything(lambda a, b: F.conv2d(a, b, stride=2), x.double(), weight.double())
    usual = everything(lambda a, b: F.conv2d(a, b, stride=2), x, weight)
    for layout in (torch.contiguous_format, torch.channels_last):
        found = everything(kernels.halved, x.contiguous(memory_format=layout), weight)
        for mine, theirs, true in zip(found, usual, exact, strict=True):
            assert mine.shape == true.shape
            assert error(mine, true) <= max(3 * error(theirs, true), 2e-5)


def test_the_number_of_threads_changes_no_bit(kernels: NativeConvolutions) -> None:
    x, weight = drawn(3, 128, 33, 33), drawn(144, 128, 3, 3, seed=1)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in THREADS:
            torch.set_num_threads(threads)
            even = everything(by_tiles(kernels), x[:, :, :32, :32], weight)
            found.append([*everything(kernels.halved, x, weight), *even])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_what_the_kernels_do_not_fit_is_left_to_torch(kernels: NativeConvolutions) -> None:
    for dtype, channels in ((torch.float64, 64), (torch.float32, 72), (torch.float32, 32)):
        x, weight = drawn(2, channels, 9, 9).to(dtype), drawn(64, channels, 3, 3).to(dtype)
        with Calls() as called:
            found = kernels.halved(x, weight)
        assert not called.names
        assert torch.equal(found, F.conv2d(x, weight, stride=2))
    with pytest.raises(RuntimeError, match="Kernel size"):
        kernels.halved(drawn(1, 64, 2, 9), drawn(64, 64, 3, 3))
    assert kernels.halved(drawn(0, 64, 9, 9), drawn(64, 64, 3, 3)).shape == (0, 64, 4, 4)


def test_r1_by_func_grad_is_differentiable(kernels: NativeConvolutions) -> None:
    weight = drawn(128, 128, 3, 3, seed=1).requires_grad_()

    def penalty(convolution: Convolution, x: Tensor) -> Tensor:
        slopes = torch.func.grad(lambda x: convolution(x, weight).square().sum())(x)
        (found,) = torch.autograd.grad(slopes.square().sum(), weight)
        return found

    odd, even = drawn(2, 128, 33, 33), drawn(2, 128, 32, 32)
    halved, tiled = penalty(kernels.halved, odd), penalty(by_tiles(kernels), even)
    assert error(halved, penalty(lambda a, b: F.conv2d(a, b, stride=2), odd)) < 2e-5
    assert error(tiled, penalty(lambda a, b: F.conv2d(a, b, padding=1), even)) < 2e-5


@pytest.mark.usefixtures("kernels")
def test_operations_are_counted_as_torchs() -> None:
    """Of values and of both gradients."""
    x, weight, small = drawn(2, 128, 32, 32), drawn(144, 128, 3, 3), drawn(2, 128, 33, 33)

    def counted(convolution: Convolution, x: Tensor) -> int:
        given = [tensor.clone().requires_grad_() for tensor in (x, weight)]
        with Counter() as counter:
            torch.autograd.grad(convolution(*given).sum(), given)
        return counter.total

    kernels = NativeConvolutions()
    assert counted(by_tiles(kernels), x) == counted(winograd.convolution, x)
    # Where the map is an odd number of pixels, taps of its last row and column see zeros.
    usual = counted(lambda a, b: F.conv2d(a, b, stride=2), small)
    assert usual <= counted(kernels.halved, small) < 1.04 * usual


def test_layers_can_be_switched_copied_and_sent(kernels: NativeConvolutions) -> None:
    del kernels
    layers = nn.Sequential(
        EqualizedConv2d(128, 128, kernel=3), EqualizedConv2d(128, 144, kernel=3, resample="down")
    )
    initialize(layers, torch.Generator().manual_seed(0))
    x = drawn(8, 128, 16, 16, seed=2)
    expected = layers(x)
    use_native_convolutions(layers)
    with Calls() as called:
        found = layers(x)
    assert {"winograd_tiles", "products", "winograd_untile", "convolve_taps"} <= called.names
    assert error(found, expected) < 2e-6
    assert torch.equal(copy.deepcopy(layers)(x), found)
    assert torch.equal(pickle.loads(pickle.dumps(layers))(x), found)  # noqa: S301  # made above


def test_narrow_models_are_refused() -> None:
    with pytest.raises(NativeKernelsError, match="no 3x3 convolution has the 128 channels"):
        use_native_convolutions(
            EqualizedConv2d(64, 512, kernel=3), EqualizedConv2d(512, 512, kernel=1)
        )


@pytest.mark.usefixtures("kernels")
def test_inputs_of_other_shapes_are_refused() -> None:
    """With an error of torch: nothing is read or written elsewhere."""
    x, packed = drawn(2, 8, 8, 16), pack(drawn(9, 16, 32))
    y = torch.ones(2, 4, 4, 32)
    taps = [0] * 9
    calls: list[Callable[[], object]] = [
        lambda: OPERATIONS.winograd_tiles(x.double(), 0, 8),
        lambda: OPERATIONS.winograd_tiles(x, 0, 10),
        lambda: OPERATIONS.winograd_tiles(x[..., :4], 0, 8),
        lambda: OPERATIONS.winograd_tiles(x.permute(0, 3, 1, 2), 0, 8),
        lambda: OPERATIONS.winograd_untile(drawn(16, 5, 16), x.clone(), 0, 8),
        lambda: OPERATIONS.winograd_spread(x, 1, 8),
        lambda: OPERATIONS.convolve_taps(x, packed, y[..., :24], taps, taps, 2),
        lambda: OPERATIONS.convolve_taps(x, packed, y[:1], taps, taps, 2),
        lambda: OPERATIONS.convolve_taps(x, packed, y, taps[:8], taps, 2),
        lambda: OPERATIONS.convolve_taps(x, packed[:8], y, taps, taps, 2),
        lambda: OPERATIONS.taps_of(x, pack(drawn(31, 32)), taps, taps, 2, 4, 4),
        lambda: OPERATIONS.products(drawn(16, 5, 12), pack(drawn(16, 16, 32))),
        lambda: OPERATIONS.products(drawn(16, 5, 16).double(), pack(drawn(16, 16, 32))),
        lambda: OPERATIONS.add_products_to(
            drawn(16, 16, 16), drawn(16, 5, 16), pack(drawn(16, 5, 32))
        ),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match=r"must be|another shape|two offsets|8 channels"):
            call()
    found = OPERATIONS.convolve_taps(x, packed, y, [99] * 9, [-99] * 9, 2)
    assert found is None
    assert not y.any()
