"""Code that a configuration may name: a transform, and modules that misbehave."""

import os
import time
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

GATE_AT = 3


def doubled(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(a=2 * rows["a"])


def halved(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.head(len(rows) // 2)


def failing(rows: pd.DataFrame) -> pd.DataFrame:
    raise KeyError("no such column")


def _wait_for(file: str) -> None:
    while file and not Path(file).exists():
        time.sleep(0.05)


class Noisy(nn.Module):
    """Draws from torch's generator while it trains; takes its time, waits at a gate; or ends its process at a call, once."""

    def __init__(
        self,
        inputs: int = 4,
        kill_file: str = "",
        kill_at: int = 0,
        dropout: float = 0.3,
        pause_s: float = 0.0,
        gate_file: str = "",
    ) -> None:
        super().__init__()
        self.inside = nn.Linear(inputs, 8)
        self.out = nn.Linear(8, 1)
        self._kill_file, self._kill_at, self._calls = kill_file, kill_at, 0
        self._dropout, self._pause_s, self._gate_file = dropout, pause_s, gate_file

    def forward(self, features: Tensor) -> Tensor:
        if self.training:
            self._calls += 1
            time.sleep(self._pause_s)
            if self._calls >= GATE_AT:
                _wait_for(self._gate_file)
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


class Gated(nn.Module):
    """Waits at its third call in training for a file; or does there what it is told to, which is bad."""

    def __init__(
        self,
        gate_file: str = "",
        hang_for_s: float = 0.0,
        eat_bytes: int = 0,
        abort: bool = False,
        fault: str = "",
    ) -> None:
        super().__init__()
        self.out = nn.Linear(4, 1)
        self._gate_file, self._hang_for_s, self._eat_bytes = gate_file, hang_for_s, eat_bytes
        self._abort, self._fault, self._calls = abort, fault, 0

    def forward(self, features: Tensor) -> Tensor:
        found: Tensor = self.out(features)
        self._calls += self.training
        if self._calls == GATE_AT:
            self._misbehave()
        return found

    def _misbehave(self) -> None:
        _wait_for(self._gate_file)
        time.sleep(self._hang_for_s)
        if self._abort:
            os.abort()
        if self._fault:
            raise RuntimeError(self._fault)
        if self._eat_bytes:
            torch.zeros(self._eat_bytes, dtype=torch.uint8)


class Exploding(nn.Module):
    """Its output is no number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        return features[:, 0] * self.weight / torch.zeros(1)


class Steep(nn.Module):
    """Its output is a number, the gradient of its weight is none."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        return features[:, 0] + torch.sqrt(self.weight)


class Normed(nn.Module):
    """Has to see two rows at least: one alone has no spread."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 1))

    def forward(self, features: Tensor) -> Tensor:
        found: Tensor = self.inside(features)
        return found
