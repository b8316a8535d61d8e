"""Multi-head self-attention over image tokens, full or with Linformer's projected keys and values.

Sources: Vaswani et al., "Attention Is All You Need" (arXiv 1706.03762, equation 1);
Wang et al., "Linformer: Self-Attention with Linear Complexity" (arXiv 2006.04768, equation 7).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

LINFORMER_TOKENS = 256
"""Length to which Linformer projects keys and values (Styleformer, arXiv 2106.07023)."""


def split_heads(
    x: Float[Tensor, "batch tokens channels"], heads: int
) -> Float[Tensor, "batch heads tokens width"]:
    """Return the channels of `x` divided into heads: channel c belongs to head c // width."""
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def attend(
    q: Float[Tensor, "batch tokens channels"],
    k: Float[Tensor, "batch keys channels"],
    v: Float[Tensor, "batch keys channels"],
    heads: int,
) -> Float[Tensor, "batch tokens channels"]:
    """Return softmax(q k^T / sqrt(width)) v per head, the heads side by side again (equation 1)."""
    mixed = F.scaled_dot_product_attention(
        split_heads(q, heads), split_heads(k, heads), split_heads(v, heads)
    )
    return mixed.transpose(1, 2).flatten(2)


def project_tokens(
    x: Float[Tensor, "batch tokens channels"], projection: Float[Tensor, "keys tokens"]
) -> Float[Tensor, "batch keys channels"]:
    """Return E x: the token axis projected to a fixed length (2006.04768, equation 7)."""
    return projection @ x
