"""What a module says of its tests is true."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("agents", "benchmarks", "cli", "deploy", "schemas", "stores", "topics", "workers")


def test_tests_that_modules_name_exist() -> None:
    named = {
        (str(module.relative_to(ROOT)), test)
        for room in ROOMS
        for module in (ROOT / room).rglob("*.py")
        for test in re.findall(r"tests/[\w/]+\.py", module.read_text())
    }
    assert len(named) > 100
    assert [(module, test) for module, test in named if not (ROOT / test).exists()] == []
