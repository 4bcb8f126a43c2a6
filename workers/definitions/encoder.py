"""A transformer encoder that classifies a text of fixed length: small here, any size by arguments.

Pre-norm blocks after Vaswani et al. 2017 and Xiong et al. 2020, on torch's own fused attention.
`tests/workers/compiling/test_definitions.py` exports it.
"""

# pyright: reportUnknownMemberType=false
# (torch's functions are typed in part)

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention


class Block(nn.Module):
    """[rows, length, width] in and out."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.join = nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._attend(self.attention_norm(x))
        widened: Tensor = self.widen(self.feed_norm(x))
        narrowed: Tensor = self.narrow(gelu(widened))
        return x + narrowed

    def _attend(self, x: Tensor) -> Tensor:
        query, key, value = (self._split(layer(x)) for layer in (self.query, self.key, self.value))
        attended = scaled_dot_product_attention(query, key, value)
        joined: Tensor = self.join(attended.transpose(1, 2).flatten(2))
        return joined

    def _split(self, x: Tensor) -> Tensor:
        """[rows, heads, length, width / heads]."""
        rows, length, width = x.shape
        return x.view(rows, length, self.heads, width // self.heads).transpose(1, 2)


class Encoder(nn.Module):
    """[rows, length] tokens in, scores [rows, classes] out."""

    def __init__(
        self,
        vocabulary: int = 1000,
        length: int = 32,
        width: int = 64,
        heads: int = 4,
        *,
        layers: int = 2,
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.randn(length, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        x: Tensor = self.blocks(self.token(tokens) + self.position)
        pooled: Tensor = self.norm(x).mean(1)
        return torch.softmax(self.head(pooled), 1)
