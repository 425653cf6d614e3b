"""Vision transformers of the DeiT shapes for small images, with the names of the usual implementation (timm).

Source: Dosovitskiy et al., *An Image is Worth 16x16 Words*, ICLR 2021; Touvron et al., *Training data-efficient image
transformers & distillation through attention*, ICML 2021 (shapes). Small images are cut into smaller patches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from apsite.evaluation.checkpoints.networks.layers import Normalisation, normaliser


@dataclass(frozen=True)
class ViTLayout:
    """What distinguishes one vision transformer from another.

    Attributes:
        width: Features of a token.
        heads: Attention heads of a block.
        size: Height of the square images that it is for.
        patch: Height of the square patches that become tokens.
        depth: Number of blocks.
    """

    width: int
    heads: int
    size: int = 32
    patch: int = 4
    depth: int = 12

    @property
    def sizes(self) -> tuple[int, ...]:
        """Heights of the square images that it is for."""
        return (self.size,)


class Attention(nn.Module):
    """Self-attention with several heads; queries, keys and values come from one layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of the shape of `x`, ``(n, tokens, width)``."""
        queries, keys, values = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        scores = (queries @ keys.transpose(2, 3)) * queries.shape[3] ** -0.5
        result: Tensor = self.proj((scores.softmax(3) @ values).transpose(1, 2).flatten(2))
        return result


class Perceptron(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of the shape of `x`, ``(n, tokens, width)``."""
        result: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return result


class Block(nn.Module):
    """Attention and perceptron, each behind a layer norm and added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Perceptron(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of the shape of `x`, ``(n, tokens, width)``."""
        out = x + self.attn(self.norm1(x))
        result: Tensor = out + self.mlp(self.norm2(out))
        return result


class Patches(nn.Module):
    """One token per patch."""

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of shape ``(n, patches, width)``."""
        result: Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return result


class ViT(nn.Module):
    """Vision transformer for images in [0, 1], as `layout` describes it; a class token gives the logits."""

    def __init__(self, layout: ViTLayout, classes: int, normalisation: Normalisation | None = None) -> None:
        super().__init__()
        width, patches = layout.width, (layout.size // layout.patch) ** 2
        self.normalise = normaliser(normalisation)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, patches + 1, width) * 0.02)
        self.patch_embed = Patches(width, layout.patch)
        self.blocks = nn.Sequential(*(Block(width, layout.heads) for _ in range(layout.depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape ``(n, classes)`` for images of shape ``(n, 3, height, width)``."""
        tokens = self.patch_embed(self.normalise(x))
        tokens = torch.cat([self.cls_token.expand(tokens.shape[0], -1, -1), tokens], 1) + self.pos_embed
        result: Tensor = self.head(self.norm(self.blocks(tokens))[:, 0])
        return result
