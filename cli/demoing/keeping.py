"""What was kept of everything, looked at once the node has stopped: by an analyst, and by an auditor.

`tests/cli/demoing/test_demo.py` runs it.
"""

from dataclasses import dataclass

from chimera.cli.demoing import answers, evidence
from chimera.cli.demoing.answers import Answer
from chimera.cli.demoing.evidence import Evidence
from chimera.cli.demoing.stack import DemoStack
from chimera.cli.demoing.stages import Stages


@dataclass(frozen=True, slots=True)
class Kept:
    answers: tuple[Answer, ...]
    evidence: Evidence


def keep(stack: DemoStack, stages: Stages, requests: int) -> Kept:
    """Once all of so many requests are rows and leaves.

    Raises:
        ChimeraError: they do not get there, or what is asked is not answered.
    """
    folder = stack.folder / evidence.EXPORT
    stack.trail.prepare_export(folder)
    with stages.begin("every request a row and a signed leaf"):
        address = stack.trail.settle(requests)
    with stages.begin("SQL answered over HTTP"):
        found = answers.ask_all(address)
    with stages.begin("audit log exported and verified, a copy altered and verified"):
        stack.trail.export()
        examined = evidence.examine(folder, stack.folder / evidence.COPY)
    return Kept(found, examined)
