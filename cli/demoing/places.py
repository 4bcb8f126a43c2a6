"""Where everything of a demo can be looked at: while it was up, and afterwards where it was kept."""

from chimera.cli.demoing.evidence import COPY, EXPORT
from chimera.cli.demoing.orders import METRIC
from chimera.cli.demoing.stack import NODE, TRAINER, DemoStack
from chimera.cli.demoing.versions import GOOD, MODEL
from chimera.topics.catalogue import catalogue


def places(stack: DemoStack, *, is_up: bool) -> dict[str, str]:
    """What, and where."""
    topics = catalogue(stack.settings)
    logs = ("stack.log",) if is_up else ()
    found = {
        "Kafka": stack.bootstrap,
        "requests": topics.requests.name,
        "results": topics.results.name,
        "dead letters": topics.dead_letters.name,
        "what happened to models": topics.model_events.name,
        "what serves": topics.model_state.name,
        "registry": stack.postgres,
        "metrics": stack.metrics,
        "runs, tiers": f"{stack.folder}/runs, {stack.folder}/artifacts",
        "what happened, as rows": f"{stack.folder}/clickhouse",
        "the audit log's export": f"{stack.folder}/{EXPORT}; what was altered: {COPY}",
        "logs": f"{stack.folder}/" + ", ".join((*logs, f"{NODE}.log", f"{TRAINER}.log")),
    }
    if stack.is_embedded:
        found["Kafka's data, log"] = f"{stack.folder}/kafka"
    return found | _next(stack, is_up=is_up)


def _next(stack: DemoStack, *, is_up: bool) -> dict[str, str]:
    if is_up:
        return {
            "go on with": f"export CHIMERA_CONFIG={stack.config_file}",
            "": f"chimera watch; chimera doctor; chimera infer {MODEL} --input {stack.sample}",
            " ": f"chimera models show {MODEL} {GOOD}; chimera models history {MODEL}",
            "  ": f"chimera train leaderboard --metric {METRIC} --max; chimera sql 'SHOW TABLES'",
            "stop it": f"chimera down; rm -r {stack.folder}",
        }
    if stack.is_kept:
        return {"only files are left": f"something is wrong: see {stack.folder}"}
    told = f"`chimera demo --keep` leaves it up, for `chimera models show {MODEL}` and the like"
    return {"all of it is gone": told}
