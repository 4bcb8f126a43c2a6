"""The beginning of an executor's process: its libraries are imported before anything else is done.

    python -m chimera.workers.start MODULE LINK BOARD NODE_PID NICENESS

They take most of a start. Beside an executor that answers they are imported as nicely as models are
loaded then (`aside`), so this module imports nothing itself. `tests/workers/test_executor_deaths.py`
and `test_placing.py` start it.
"""

import importlib
import sys
from functools import partial

from chimera.workers.aside import aside

if __name__ == "__main__":
    _, module, *numbers = sys.argv
    raise SystemExit(aside(partial(importlib.import_module, module), int(numbers[-1])).run(numbers))
