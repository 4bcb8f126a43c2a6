"""Where everything of a demo can be looked at, while it is up and afterwards."""

from chimera.cli.demoing.stack import DemoStack
from chimera.topics.catalogue import catalogue


def places(stack: DemoStack, *, is_up: bool) -> dict[str, str]:
    topics = catalogue(stack.settings)
    logs = ("stack.log", "node.log", "training.log") if is_up else ("node.log", "training.log")
    places = {
        "Kafka": stack.bootstrap,
        "requests": topics.requests.name,
        "results": topics.results.name,
        "dead letters": topics.dead_letters.name,
        "metrics": stack.metrics,
        "model": f"{stack.folder}/models/digits/1",
        "logs": f"{stack.folder}/" + ", ".join(logs),
    }
    if stack.is_embedded:
        places["Kafka's data, log"] = f"{stack.folder}/kafka"
    if is_up:
        places["go on with"] = f"export CHIMERA_CONFIG={stack.config_file}"
        places[""] = f"chimera watch; chimera doctor; chimera infer digits --input {stack.sample}"
        places["stop it"] = f"chimera down; rm -r {stack.folder}"
    elif stack.is_kept:
        places["only files are left"] = f"something is wrong: see {stack.folder}"
    else:
        places["all of it is gone"] = "`chimera demo --keep` leaves it up"
    return places
