"""Draws some images of a judged generator again, and compares them with what a record kept of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from sfbench.api.errors import DataError
from sfbench.api.labels import parse_labels
from sfbench.api.protocols import Dataset
from sfbench.api.spec import GeneratorSpec
from sfbench.generators import contract, execution
from sfbench.generators.building import build
from sfbench.hardware.devices import find_backend
from sfbench.hardware.policy import set_policy
from sfbench.quality.class_labels import follow_labels
from sfbench.quality.image_sets import GeneratedImages
from sfbench.quality.receipts import Checked, checked, fingerprints_of
from sfbench.values.case import Case


def drawn_again(
    spec: GeneratorSpec, case: Case, kept: Mapping[int, bytes], dataset: Dataset | None
) -> Iterator[Checked]:
    """Yield each image of which a fingerprint was kept, by seed, drawn again and compared.

    `dataset`: the real images, needed only where labels follow them.
    """
    backend = find_backend(case.device)
    with torch.inference_mode():
        set_policy(backend, case.dtype, case.threads)
        plain = build(spec, case, case.device)
        generator = execution.prepared(plain, case.mode, contract.module_of(plain), backend)
        follow_labels(generator, parse_labels(case.labels), dataset)
        images = GeneratedImages(
            generator=generator, indices=sorted(kept), batch=case.batch, identity={}
        )
        for seed, picture in images.read(images.indices):
            if isinstance(picture, DataError):
                raise picture
            (again,) = fingerprints_of([seed], picture.pixels[None])
            yield checked(seed, kept[seed], again)
