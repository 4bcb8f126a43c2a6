"""Rivals that need libraries of their own get an environment under `.rivals/`, made by uv on demand.

A rival that cannot be installed or started is reported as `not run: <reason>`; no figure is ever
taken from elsewhere. Versions are pinned here; `.rivals/` is ignored by git.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WITHIN_S = 600


class NotRun(Exception):
    """The contender cannot run here; the message is the reason."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment by its name, interpreter and requirements."""

    name: str
    python: str
    requirements: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return ROOT / ".rivals" / self.name

    def interpreter(self) -> Path:
        """The environment's Python; installs what is missing or has another pin.

        Raises:
            NotRun: no uv, or it could not install the requirements.
        """
        python = self.folder / "bin" / "python"
        pins = self.folder / "requirements.txt"
        wanted = "\n".join((self.python, *self.requirements))
        if pins.exists() and pins.read_text() == wanted:
            return python
        uv = ROOT / ".uv" / "bin" / "uv"
        program = str(uv) if uv.exists() else shutil.which("uv")
        if program is None:
            raise NotRun("uv is missing, and this rival needs an environment of its own")
        self._uv(program, "venv", "--clear", "--python", self.python, str(self.folder))
        self._uv(program, "pip", "install", "--python", str(python), *self.requirements)
        pins.write_text(wanted)
        return python

    def _uv(self, program: str, *arguments: str) -> None:
        command = [program, "--quiet", *arguments]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=WITHIN_S
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["uv failed"]
            raise NotRun(f"{self.name}: {last[0]}")


def own_interpreter() -> Path:
    return Path(sys.executable)


COMPUTE = ("numpy==2.4.6", "orjson==3.13.0", "onnxruntime==1.31.1")
BYTEWAX = Environment("bytewax", "3.11", ("bytewax==0.21.1", "confluent-kafka==2.16.1", *COMPUTE))
QUIX = Environment("quix", "3.11", ("quixstreams==3.28.1", *COMPUTE))
MLSERVER = Environment("mlserver", "3.11", ("mlserver==1.7.1", *COMPUTE))
