"""The demo's two versions, and the runs that make them: a version is called as its run.

A run's id follows from its trigger's, so both names are known before anybody trains.
`tests/cli/demoing/test_orders.py`.
"""

from chimera.schemas.model_names import DEFAULT_TENANT
from chimera.schemas.training_triggers import run_id_of

MODEL = "digits"
TRIGGERS = ("demo-1", "demo-2")
GOOD, WORSE = (run_id_of(DEFAULT_TENANT, trigger, MODEL) for trigger in TRIGGERS)
NTH = {GOOD: "first", WORSE: "second"}  # as the stages call them
LEARNED = {GOOD: "the digits", WORSE: "their negatives"}
