"""State dicts as trainers keep them: nested under a name, with prefixes, beside other entries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

AVERAGES = ("g_ema", "G_ema", "ema", "ema_state_dict", "params_ema", "model_ema")
"""Names under which trainers keep the running average: that is what makes images."""
NESTS = (
    *AVERAGES,
    "generator",
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "params",
    "G",
    "g",
)
PREFIXES = (
    "module.", "_orig_mod.", "ema_model.", "generator.", "netG.", "model.", "g_ema.", "G_ema.", "net.",
)  # fmt: skip
HEADS: Mapping[bytes, str] = {
    b"version https://git-lfs": "it is a Git LFS pointer and not the file; fetch it with git lfs pull",
    b"<!DOCTYPE": "it is a web page and not weights; download the file again",
    b"<html": "it is a web page and not weights; download the file again",
    b"\x1f\x8b": "it is compressed with gzip; unpack it first",
    b"\x93NUMPY": "it is a NumPy array; expected a state dict (names to tensors)",
}
"""What else files that should be weights turn out to be, by their first bytes."""


def complaint_of(head: bytes) -> str | None:
    """Return what a file is that is no weights, by its first bytes; None if they do not tell."""
    if not head:
        return "it is empty; download or save it again"
    return next((words for start, words in HEADS.items() if head.startswith(start)), None)


def unwrapped(content: Any) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the tensors of a state dict by name, and what was taken off to get them.

    Raises ValueError for anything else, saying what it holds.
    """
    notes: list[str] = []
    found = content
    while (name := nest_of(found)) is not None:
        notes.append(f"taken from {name!r}" + others(found, name))
        found = found[name]
    if not isinstance(found, Mapping):
        msg = f"it holds {described(found)}; expected a state dict: save model.state_dict()"
        raise ValueError(msg)  # noqa: TRY004  # one kind of complaint about files
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        names = ", ".join(map(str, list(found)[:5])) or "nothing"
        msg = f"it is a torch file, but not a state dict (names to tensors): it holds {names}"
        raise ValueError(msg)
    dropped = [str(name) for name in found if str(name) not in tensors]
    if dropped:
        notes.append(f"left out, no tensors: {', '.join(dropped[:5])}")
    for prefix in prefixes_of(tensors):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        notes.append(f"prefix {prefix!r} taken off")
    kinds = {str(t.dtype).removeprefix("torch.") for t in tensors.values() if t.is_floating_point()}
    if kinds and kinds != {"float32"}:
        notes.append(f"converted from {', '.join(sorted(kinds))} to float32")
    return tensors, tuple(notes)


def advised(complaint: str) -> str:
    """Return a complaint about a pickle with what to do, where it is a known kind of file."""
    if "dnnlib.tflib" in complaint:
        return f"{complaint}; it is a TensorFlow snapshot: convert it with the official legacy.py first"
    if "no weights file needs" in complaint:
        return (
            f"{complaint}; expected tensors alone: save the generator's state_dict(), or take the file "
            "that holds it (of a folder of BigGAN's G_ema.pth)"
        )
    return complaint


def nest_of(content: Any) -> str | None:
    """Return the entry that holds the generator, running averages first; None if nothing is nested."""
    if not isinstance(content, Mapping):
        return None
    for name in NESTS:
        inner = content.get(name)
        if isinstance(inner, Mapping) and any(
            isinstance(v, Tensor | Mapping) for v in inner.values()
        ):
            return name
    return None


def others(content: Mapping[str, Any], name: str) -> str:
    """Return the other entries beside the one that was taken, in words."""
    left = [str(one) for one in content if one != name]
    return f" (beside {', '.join(left[:5])})" if left else ""


def prefixes_of(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield, from the outside in, the prefixes that all names share."""
    names = list(tensors)
    while True:
        prefix = next((p for p in PREFIXES if all(name.startswith(p) for name in names)), None)
        if prefix is None:
            return
        yield prefix
        names = [name.removeprefix(prefix) for name in names]


def described(value: Any) -> str:
    """Return what a value is that is no state dict."""
    made_by = getattr(value, "made_by", None)
    if made_by is not None:
        return f"a whole pickled object ({str(made_by)[:60]})"
    return f"a {type(value).__name__}"
