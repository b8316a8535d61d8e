from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from sfbench.api.errors import UsageError
from sfbench.quality.resizing import RESIZERS, resized, tf1_bilinear

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("name", "bound"),
    [("bicubic", 5e-5), ("bilinear", 5e-5), ("box", 0.0), ("lanczos", 5e-5)],
)
@pytest.mark.parametrize("size", [(32, 32), (20, 50), (299, 299), (400, 310)])
def test_clean_resizing_is_pillows(size: tuple[int, int], name: str, bound: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = np.stack(
        [
            np.asarray(
                Image.fromarray(pixels[:, :, c].astype(np.float32)).resize(
                    (299, 299), getattr(Image.Resampling, name.upper())
                )
            )
            for c in range(3)
        ]
    ).clip(0, 255)
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    found = resized(images, f"pil-{name}", 299)[0].numpy()
    assert np.abs(found - expected).max() <= bound


@pytest.mark.parametrize("size", [(32, 32), (17, 64), (320, 320), (512, 300)])
def test_tensorflow_resizing_is_torch_fidelitys_bit_for_bit(size: tuple[int, int]) -> None:
    from torch_fidelity.interpolate_compat_tensorflow import (
        interpolate_bilinear_2d_like_tensorflow1x,
    )

    source = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8, generator=source)
    expected = interpolate_bilinear_2d_like_tensorflow1x(
        images.float(), size=(299, 299), align_corners=False
    )
    assert torch.equal(tf1_bilinear(images, 299), expected)


@pytest.mark.parametrize("name", sorted(set(RESIZERS) - {"none"}))
def test_every_way_of_resizing_keeps_a_flat_image_flat(name: str) -> None:
    flat = torch.full((1, 3, 20, 30), 77, dtype=torch.uint8)
    assert (resized(flat, name, 11) - 77).abs().max() < 1e-3


def test_an_unknown_way_of_resizing_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="expected none, tf1-bilinear"):
        resized(torch.zeros(1, 3, 4, 4), "magic", 4)
