"""Resizing as each metrics package does it, on the images' own device.

The resampling filter affects a Frechet distance more than anything else (Parmar et al., arXiv
2104.11222), so every resizing method has a name that is part of a number's provenance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from sfbench.api.errors import UsageError
from sfbench.hardware.devices import find_backend
from sfbench.quality.pillow_filters import resized_by

Images = Shaped[Tensor, "batch channels height width"]
Resized = Float[Tensor, "batch channels side side"]


def tf1_bilinear(images: Images, side: int) -> Resized:
    """Return TensorFlow-1 bilinear resizing (asymmetric, not antialiased), bit-exact to it on a CPU.

    Columns first on the few source rows, then rows: the same float32 operations as interpolating
    all four neighbors of every target pixel, at a ninth of the cost.
    """
    x = images.float()
    for axis in (3, 2):
        x = tf1_axis(x, axis, side)
    return x


def tf1_axis(x: Tensor, axis: int, side: int) -> Tensor:
    """Return the images interpolated along one axis."""
    count = x.shape[axis]
    grid = torch.arange(0, side, 1, dtype=torch.float32, device=x.device)
    grid *= torch.tensor(count / side, dtype=torch.float32)
    low = grid.long()
    fraction = (grid - low.float()).view(-1, *([1] * (3 - axis)))
    following = torch.arange(1, count + 1, device=x.device).clamp_max_(count - 1)
    if count < side:
        step = x.index_select(axis, following).sub_(x).index_select(axis, low)
        base = x.index_select(axis, low)
    else:
        base = x.index_select(axis, low)
        step = x.index_select(axis, following[low]).sub_(base)
    # Not addcmul or lerp: a fused multiplication would round differently.
    return step.mul_(fraction).add_(base)


def pil_bicubic(images: Images, side: int) -> Resized:
    """Return Pillow's bicubic resizing of float channels (clean-fid), within 5e-5, cut to 0..255.

    Antialiased, with the filter's weights in float64: in float32 they err by up to 1e-2.
    """
    if images.shape[2:] == (side, side):
        return images.float()
    # On a CPU, a few images at a time fit into its cache, which doubles the speed.
    together = not find_backend(images.device.type).few_images_at_a_time
    size = len(images) if together else max(torch.get_num_threads(), 2)
    found = torch.empty((*images.shape[:2], side, side), device=images.device)
    for start in range(0, len(images), size):
        part = images[start : start + size].double()
        # Columns, then rows: torch takes up to twice as long for both at once.
        part = antialiased(antialiased(part, (part.shape[2], side)), (side, side))
        found[start : start + size].copy_(part).clamp_(0, 255)
    return found


def antialiased(images: Tensor, size: tuple[int, int], mode: str = "bicubic") -> Tensor:
    """Return torch's antialiased resizing to that height and width."""
    return F.interpolate(images, size, mode=mode, align_corners=False, antialias=True)


def affine_grid(images: Images, side: int) -> Resized:
    """Return bilinear sampling on an affine grid shifted to imitate TensorFlow 1, in float32.

    That is what the TorchScript Inception of the StyleGAN family does inside; it is within 1e-3 of
    `tf1_bilinear` at 32 px.
    """
    height, width = images.shape[2:]
    shift = [[1.0, 0.0, 1 / width - 1 / side], [0.0, 1.0, 1 / height - 1 / side]]
    theta = torch.tensor(shift, dtype=torch.float32, device=images.device)
    size = [len(images), images.shape[1], side, side]
    grid = F.affine_grid(theta.expand(len(images), -1, -1), size, align_corners=False)
    return F.grid_sample(
        images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )


def torch_bilinear(images: Images, side: int) -> Resized:
    """Return torch's bilinear resizing: half-pixel centers, not antialiased (pytorch-fid)."""
    return F.interpolate(images.float(), (side, side), mode="bilinear", align_corners=False)


def torch_bilinear_antialias(images: Images, side: int) -> Resized:
    """Return torch's antialiased bilinear resizing in float32 (torchmetrics from 1.9)."""
    return antialiased(images.float(), (side, side), "bilinear")


def torch_bicubic_antialias(images: Images, side: int) -> Resized:
    """Return torch's antialiased bicubic resizing in float32, not clamped to 0..255 (EDM2)."""
    return antialiased(images.float(), (side, side))


def pil_uint8_bilinear(images: Images, side: int) -> Resized:
    """Return Pillow's bilinear resizing of 8-bit images (dgm-eval's Inception)."""
    return by_pillow(images, side, "BILINEAR")


def pil_uint8_bicubic(images: Images, side: int) -> Resized:
    """Return Pillow's bicubic resizing of 8-bit images (dgm-eval's DINOv2)."""
    return by_pillow(images, side, "BICUBIC")


def pil_uint8_box(images: Images, side: int) -> Resized:
    """Return Pillow's box resizing of 8-bit images."""
    return by_pillow(images, side, "BOX")


def pil_uint8_lanczos(images: Images, side: int) -> Resized:
    """Return Pillow's Lanczos resizing of 8-bit images."""
    return by_pillow(images, side, "LANCZOS")


def pil_bilinear(images: Images, side: int) -> Resized:
    """Return Pillow's bilinear resizing of float channels, cut to 0..255."""
    return resized_by(images, side, "bilinear")


def pil_box(images: Images, side: int) -> Resized:
    """Return Pillow's box resizing of float channels."""
    return resized_by(images, side, "box")


def pil_lanczos(images: Images, side: int) -> Resized:
    """Return Pillow's Lanczos resizing of float channels, cut to 0..255."""
    return resized_by(images, side, "lanczos")


def by_pillow(images: Images, side: int, name: str) -> Resized:
    """Return images resized one by one, on the host; floats are first rounded to bytes."""
    from PIL import Image  # slow to import

    whole = images if images.dtype == torch.uint8 else images.round().clamp(0, 255).byte()
    rows = [
        np.asarray(Image.fromarray(image).resize((side, side), getattr(Image.Resampling, name)))
        for image in whole.permute(0, 2, 3, 1).cpu().numpy()
    ]
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).to(images.device).float()


def unchanged(images: Images, _side: int) -> Resized:
    """Return the images as they are, as floats."""
    return images.float()


RESIZERS: Mapping[str, Callable[[Tensor, int], Tensor]] = {
    "none": unchanged,
    "tf1-bilinear": tf1_bilinear,
    "pil-bicubic": pil_bicubic,
    "pil-bilinear": pil_bilinear,
    "pil-box": pil_box,
    "pil-lanczos": pil_lanczos,
    "affine-grid": affine_grid,
    "torch-bilinear": torch_bilinear,
    "torch-bilinear-antialias": torch_bilinear_antialias,
    "torch-bicubic-antialias": torch_bicubic_antialias,
    "pil-uint8-bilinear": pil_uint8_bilinear,
    "pil-uint8-bicubic": pil_uint8_bicubic,
    "pil-uint8-box": pil_uint8_box,
    "pil-uint8-lanczos": pil_uint8_lanczos,
}


def resized(images: Images, name: str, side: int) -> Resized:
    """Return images of 0..255 resized to side x side by the named method, float32.

    Raises UsageError for a name that does not exist.
    """
    if name not in RESIZERS:
        msg = f"resize {name}: expected {', '.join(RESIZERS)}"
        raise UsageError(msg)
    return RESIZERS[name](images, side)
