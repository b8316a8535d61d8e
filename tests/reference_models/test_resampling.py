from __future__ import annotations

import torch
from torch.nn import functional as F

from reference_models.resampling import (
    BINOMIAL,
    conv2d_down,
    conv2d_up,
    filter_kernel,
    upfirdn2d,
    upsample2d,
)

X = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(0))


def test_upsampling_by_interpolation_equals_the_zero_inserting_filter() -> None:
    kernel = filter_kernel(BINOMIAL)
    expected = upfirdn2d(X, kernel, up=(2, 2), padding=(2, 1, 2, 1), gain=4.0)
    torch.testing.assert_close(upsample2d(X), expected)


def test_a_separable_filter_equals_its_outer_product() -> None:
    line = torch.arange(1.0, 9.0)
    plane = line.outer(line) / line.sum() ** 2
    padding = (4, 3, 2, 5)
    torch.testing.assert_close(
        upfirdn2d(X, filter_kernel(line), padding=padding), upfirdn2d(X, plane, padding=padding)
    )


def test_up_and_down_convolutions_of_a_one_pixel_kernel_commute_with_resampling() -> None:
    weight = torch.randn(4, 3, 1, 1, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(conv2d_up(X, weight), F.conv2d(upsample2d(X), weight))
    even = X[:, :, :, :4]
    assert conv2d_down(even, weight).shape == (2, 4, 3, 2)


def test_the_up_convolution_is_the_adjoint_layout_of_a_true_convolution() -> None:
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 1.0
    kernel = filter_kernel(BINOMIAL)
    centered = torch.zeros(1, 1, 13, 11)
    centered[:, :, 1::2, 1::2] = X[:1, :1]
    expected = upfirdn2d(centered, kernel, padding=(1, 1, 1, 1), gain=4.0)
    torch.testing.assert_close(conv2d_up(X[:1, :1], weight), expected)
