"""Builds timm models as feature extractors, with weights from a local file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn
from torch.nn import functional as F

from sfbench.api import (
    ExtractorRequest,
    Features,
    UsageError,
    WeightsError,
    WeightsFile,
    read_tensors,
)

DINOV2_SIDE = 224
GRID_OFFSET = 0.1


class TimmExtractor:
    """Images [batch, 3, side, side] in 0..255 -> a timm model's features before its classifier."""

    standard = False

    def __init__(
        self,
        request: ExtractorRequest,
        name: str,
        model: nn.Module,
        resize: str,
        files: Sequence[WeightsFile] = (),
    ) -> None:
        config: Mapping[str, Any] = model.pretrained_cfg  # type: ignore[assignment]  # timm's own
        published = {file.sha256 for file in files}
        # A name of published weights is reserved for them.
        known = request.sha256 in published and request.sha256 is not None
        self.name = name if known else f"{name}-{str(request.sha256)[:8]}"
        self.resize = resize
        self.model = model.eval().requires_grad_(requires_grad=False).to(request.device)
        self.side: int | None = config["input_size"][-1]
        self.mean, self.deviation = (
            torch.tensor(config[key], device=request.device).view(1, 3, 1, 1) * 255
            for key in ("mean", "std")
        )
        self.identity: Mapping[str, Any] = {
            "name": self.name,
            "weights_sha256": request.sha256,
            "features": int(model.num_features),  # type: ignore[arg-type]  # timm's own
            "timm": timm.__version__,
        }

    def __call__(self, images: Tensor) -> Features:
        """Return the features of a batch."""
        with torch.inference_mode():
            return Features(self.model((images - self.mean) / self.deviation).flatten(1))


def dinov2(
    request: ExtractorRequest, architecture: str, name: str, files: Sequence[WeightsFile] = ()
) -> TimmExtractor:
    """Return a DINOv2 network at 224 pixels with the original's position grid.

    Raises WeightsError if the file does not fit.
    """
    model = created(architecture, img_size=DINOV2_SIDE, num_classes=0)
    state = read_tensors(required(request))
    if "pos_embed" in state:
        state["pos_embed"] = resampled_positions(state["pos_embed"], model.patch_embed.grid_size[0])
    load(model, state, request)
    model.pretrained_cfg = {**model.pretrained_cfg, "input_size": (3, DINOV2_SIDE, DINOV2_SIDE)}
    return TimmExtractor(request, name, model, "pil-uint8-bicubic", files)


def resampled_positions(positions: Tensor, side: int) -> Tensor:
    """Return position embeddings [1, 1 + side^2, channels] as DINOv2's own code resamples them.

    Bicubic without antialiasing, by the factor (side + 0.1) / old side; timm antialiases.
    """
    first, grid = positions[:, :1], positions[:, 1:]
    old = math.isqrt(grid.shape[1])
    if old == side:
        return positions
    square = grid.reshape(1, old, old, -1).permute(0, 3, 1, 2).float()
    factor = (side + GRID_OFFSET) / old
    square = F.interpolate(square, scale_factor=(factor, factor), mode="bicubic")
    return torch.cat([first, square.permute(0, 2, 3, 1).reshape(1, side * side, -1)], dim=1)


def clip(
    request: ExtractorRequest, architecture: str, name: str, files: Sequence[WeightsFile] = ()
) -> TimmExtractor:
    """Return the image side of a CLIP network, its projection included."""
    model = created(architecture)
    state = read_tensors(required(request))
    load(model, {key: tensor.float() for key, tensor in state.items()}, request)
    extractor = TimmExtractor(request, name, model, "torch-bicubic-antialias", files)
    extractor.identity = {**extractor.identity, "features": int(model.num_classes)}
    return extractor


def by_name(request: ExtractorRequest) -> TimmExtractor:
    """Return any timm model without its classifier.

    Raises UsageError for a name that timm does not know.
    """
    name = str(request.variant)
    model = created(name)
    model.reset_classifier(0)
    heads = model.pretrained_cfg["classifier"] or ()
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    # A file of the whole network also contains the classifier.
    starts = tuple(f"{head}." for head in heads)
    state = {
        key: tensor
        for key, tensor in read_tensors(required(request)).items()
        if not key.startswith(starts)
    }
    load(model, state, request)
    return TimmExtractor(request, f"timm-{name}", model, "pil-bicubic")


def created(architecture: str, **arguments: Any) -> Any:
    """Return an untrained timm model; nothing is downloaded."""
    if not timm.is_model(architecture):
        near = ", ".join(timm.list_models(f"*{architecture.split('_', maxsplit=1)[0]}*")[:5])
        msg = f"timm has no model {architecture}" + (f"; it has {near}, ..." if near else "")
        raise UsageError(msg)
    return timm.create_model(architecture, pretrained=False, **arguments)


def required(request: ExtractorRequest) -> Any:
    """Return the weights file of a request; raises WeightsError without one."""
    if request.weights is None:
        msg = "a timm extractor needs weights: give --extractor-weights FILE"
        raise WeightsError(msg)
    return request.weights


def load(model: Any, state: Mapping[str, Tensor], request: ExtractorRequest) -> None:
    """Put the tensors into the model; raises WeightsError naming the first that does not fit."""
    names = dict(state)
    if isinstance(model, VisionTransformer):
        names = checkpoint_filter_fn(names, model)
    try:
        model.load_state_dict(names)
    except RuntimeError as error:
        lines = str(error).strip().splitlines()
        reason = (lines[1] if len(lines) > 1 else lines[0]).strip()[:200]
        msg = f"{request.weights}: does not fit the model ({reason})"
        raise WeightsError(msg) from None
