"""A perceptron of some layers that classifies: the demo's model of handwritten digits.

`tests/workers/compiling/test_pipeline.py` compiles it as `chimera.workers.definitions.mlp:Mlp`.
"""

# pyright: reportUnknownMemberType=false
# (torch's functions are typed in part)

from itertools import pairwise

import torch
from torch import Tensor, nn


class Mlp(nn.Module):
    """[rows, inputs] numbers of 0 to `scale` in; the class [rows] and scores [rows, classes] out."""

    def __init__(
        self,
        inputs: int = 64,
        hidden: tuple[int, ...] = (256, 128),
        classes: int = 10,
        *,
        scale: float = 16.0,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.scale = scale
        widths = (inputs, *hidden)
        layers: list[nn.Module] = []
        for width, next_width in pairwise(widths):
            layers += [nn.Linear(width, next_width), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], classes))

    def logits(self, image: Tensor) -> Tensor:
        found: Tensor = self.layers(image / self.scale)
        return found

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        scores = torch.softmax(self.logits(image), 1)
        return scores.argmax(1), scores
