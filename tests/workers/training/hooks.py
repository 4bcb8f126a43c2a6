"""Code that a configuration may name: a transform, and modules that misbehave."""

import os
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn


def doubled(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(a=2 * rows["a"])


def halved(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.head(len(rows) // 2)


def failing(rows: pd.DataFrame) -> pd.DataFrame:
    raise KeyError("no such column")


class Noisy(nn.Module):
    """Draws from torch's generator while it trains; ends its process at a call, once."""

    def __init__(
        self, inputs: int = 4, kill_file: str = "", kill_at: int = 0, dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.inside = nn.Linear(inputs, 8)
        self.out = nn.Linear(8, 1)
        self._kill_file, self._kill_at, self._calls = kill_file, kill_at, 0
        self._dropout = dropout

    def forward(self, features: Tensor) -> Tensor:
        if self.training:
            self._calls += 1
            if (
                self._kill_file
                and self._calls == self._kill_at
                and not Path(self._kill_file).exists()
            ):
                Path(self._kill_file).touch()
                os.kill(os.getpid(), 9)
        found: Tensor = self.out(
            nn.functional.dropout(self.inside(features), self._dropout, self.training)
        )
        return found


class Exploding(nn.Module):
    """Its output is no number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        return features[:, 0] * self.weight / torch.zeros(1)
