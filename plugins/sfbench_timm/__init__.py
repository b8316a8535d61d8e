"""Feature extractors through timm: DINOv2, CLIP, and any other model by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sfbench.api import ExtractorRequest, ExtractorSpec, WeightsFile, hookimpl

if TYPE_CHECKING:
    from sfbench.api import FeatureExtractor


DINOV2 = WeightsFile(
    name="dinov2_vitl14_pretrain.pth",
    url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
)
CLIP = WeightsFile(
    name="ViT-L-14-336px.pt",
    url=(
        "https://openaipublic.azureedge.net/clip/models/"
        "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02/ViT-L-14-336px.pt"
    ),
    sha256="3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
)


def build_dinov2(request: ExtractorRequest) -> FeatureExtractor:
    """Return DINOv2 ViT-L/14 at 224 pixels: the class token after the last normalization."""
    from sfbench_timm.models import dinov2  # torch and timm come with it

    return dinov2(request, "vit_large_patch14_dinov2.lvd142m", "dinov2-vitl14", (DINOV2,))


def build_clip(request: ExtractorRequest) -> FeatureExtractor:
    """Return CLIP ViT-L/14 at 336 pixels: the projected image embedding."""
    from sfbench_timm.models import clip  # torch and timm come with it

    return clip(request, "vit_large_patch14_clip_quickgelu_336.openai", "clip-vitl14-336", (CLIP,))


def build_any(request: ExtractorRequest) -> FeatureExtractor:
    """Return the model that the variant names, with the file's weights."""
    from sfbench_timm.models import by_name  # torch and timm come with it

    return by_name(request)


@hookimpl
def sfbench_extractors() -> Iterable[ExtractorSpec]:
    """Offer DINOv2, CLIP and timm:MODEL."""
    yield ExtractorSpec(
        name="dinov2-vitl14",
        summary="DINOv2 ViT-L/14 class token (1024 features, FD-DINOv2)",
        build=build_dinov2,
        weights=(DINOV2,),
        license="Apache-2.0",
        citation="Oquab et al., arXiv 2304.07193; Stein et al., arXiv 2306.04675",
    )
    yield ExtractorSpec(
        name="clip-vitl14-336",
        summary="CLIP ViT-L/14 at 336 px, projected embedding (768 features, CMMD)",
        build=build_clip,
        weights=(CLIP,),
        license="MIT",
        citation="Radford et al., arXiv 2103.00020; Jayasumana et al., arXiv 2401.09603",
    )
    yield ExtractorSpec(
        name="timm",
        summary="any timm model by name, with --extractor-weights FILE",
        build=build_any,
        variants="MODEL",
    )
