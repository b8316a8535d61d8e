from __future__ import annotations

import math

import pytest
import torch
from smooth_pictures import COUNT, numbers, smooth

from reference_models import augmentation, losses, penalties
from reference_models.diff_augment import diff_augment

pytestmark = pytest.mark.fast


def test_the_wavelet_is_orthogonal_to_its_even_shifts() -> None:
    taps = torch.tensor(augmentation.SYM6, dtype=torch.float64)
    assert taps.sum() == pytest.approx(math.sqrt(2))
    for shift in range(6):
        product = (taps[2 * shift :] * taps[: len(taps) - 2 * shift]).sum()
        assert product == pytest.approx(float(shift == 0), abs=1e-12)


def test_nothing_happens_at_p_0_and_something_to_every_image_at_p_1() -> None:
    x = smooth()
    still = augmentation.adaptive_augment(x, *numbers(), torch.tensor(0.0))
    assert (still - x).abs().max() < 1e-5
    moved = augmentation.adaptive_augment(x, *numbers(), torch.tensor(1.0))
    assert ((moved - x).abs().amax(dim=(1, 2, 3)) > 0.05).all()


def test_maps_of_places_do_what_they_say() -> None:
    x = smooth()
    one = torch.ones(COUNT)
    inside = (..., slice(6, -6), slice(6, -6))
    flipped = augmentation.warped(x, augmentation.scaling(-one, one))
    assert (flipped - x.flip(3))[inside].abs().max() < 0.02
    turned = augmentation.warped(x, augmentation.rotation(one * math.pi / 2))
    assert (turned - torch.rot90(x, 1, (2, 3)))[inside].abs().max() < 0.02
    shifted = augmentation.warped(x, augmentation.translation(-3 * one, -5 * one))
    assert (shifted[:, :, 5:, 3:] - x[:, :, :-5, :-3]).abs().max() < 1e-5


def test_samples_are_those_of_torch_and_can_be_derived_twice() -> None:
    source = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 7, 7, generator=source, dtype=torch.float64, requires_grad=True)
    grid = torch.rand(2, 5, 5, 2, generator=source, dtype=torch.float64) * 2.4 - 1.2
    expected = torch.nn.functional.grid_sample(images, grid, align_corners=False)
    found = augmentation.Sampled.apply(images, grid)
    assert torch.equal(found, expected)
    torch.autograd.gradcheck(lambda x: augmentation.Sampled.apply(x, grid), images)
    torch.autograd.gradgradcheck(lambda x: augmentation.Sampled.apply(x, grid) ** 2, images)


def test_gray_stays_gray_under_every_map_of_colors() -> None:
    uniforms, normals = numbers()
    chances = augmentation.Chances(uniforms, normals, torch.tensor(1.0))
    augmentation.inverse_map(chances, 32)
    matrices = augmentation.color_matrices(chances)
    gray = matrices[:, :3, :3].sum(dim=2)
    assert (gray - gray[:, :1]).abs().max() < 1e-5


def test_each_happens_as_often_as_p_says() -> None:
    source = torch.Generator().manual_seed(0)
    uniforms = torch.rand(4000, augmentation.UNIFORMS, generator=source)
    normals = torch.randn(4000, augmentation.NORMALS, generator=source)
    chances = augmentation.Chances(uniforms, normals, torch.tensor(0.3))
    inverse = augmentation.inverse_map(chances, 32)
    still = (inverse - torch.eye(3)).abs().amax(dim=(1, 2)) < 1e-6
    # Mirroring and quarter turns choose "not" once in 2 and 4; the two turns share one probability.
    expected = (1 - 0.3 / 2) * (1 - 0.3 * 3 / 4) * 0.7**4 * 0.7
    assert float(still.float().mean()) == pytest.approx(expected, abs=0.02)


def test_the_path_length_penalty_has_the_gradient_of_its_definition() -> None:
    lengths = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64, requires_grad=True)
    average = torch.tensor(0.5, dtype=torch.float64)
    moved = average + penalties.PATH_LENGTH_DECAY * (lengths.mean() - average)
    expected = (lengths - moved).square().mean()
    (wanted,) = torch.autograd.grad(expected, lengths)
    found = penalties.path_length_penalty(lengths, average, lengths.mean())
    (got,) = torch.autograd.grad(found, lengths)
    assert found.item() == pytest.approx(expected.item())
    assert torch.allclose(got, wanted, atol=1e-14)


def test_losses_are_those_of_their_papers() -> None:
    fake, real = torch.tensor([[0.3], [-1.0]]), torch.tensor([[2.0], [0.5]])
    assert losses.discriminator_loss("hinge", fake, real).item() == pytest.approx(0.65 + 0.25)
    assert losses.generator_loss("hinge", fake, None).item() == pytest.approx(0.35)
    paired = [math.log1p(math.exp(-(r - f))) for f, r in ((0.3, 2.0), (-1.0, 0.5))]
    assert losses.discriminator_loss("relativistic", fake, real).item() == pytest.approx(
        sum(paired) / 2
    )
    with pytest.raises(ValueError, match="give its logits"):
        losses.generator_loss("relativistic", fake, None)


def test_diffaugment_keeps_shapes_and_cuts_a_quarter() -> None:
    x = torch.ones(200, 3, 16, 16)
    uniforms = torch.rand(200, 7, generator=torch.Generator().manual_seed(0))
    uniforms[:, 3:5] = 0.5
    y = diff_augment(x, uniforms)
    assert y.shape == x.shape
    cut = (y == 0).all(dim=1).float().mean()
    assert 0.12 < float(cut) < 0.3
