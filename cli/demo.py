"""`chimera demo`: everything once, on real servers, and every request accounted for.

    Kafka starts ─┬─ topics ─┬─ node ─ burst ─ paced ─ node stops ─ read to the end ─ verdict
    digits train ─┴──────────┘

Everything lives in one temporary folder, and every process is this one's child: whichever way the
demo ends, nothing stays. `--keep` hands the folder to `chimera up`. `tests/cli/test_demo.py` runs it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from chimera.cli.demo_stack import DemoStack
    from chimera.cli.demo_stages import Stages
    from chimera.cli.demo_table import Report
    from chimera.schemas.settings import Settings

LEAST = 20  # requests: a few of every kind
INTERRUPTED = 130


def demo(
    requests: Annotated[
        int, typer.Option(min=LEAST, help="How many: digits over and over, bad ones among them.")
    ] = 10_000,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures there.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave Kafka and a node running at the end.")
    ] = False,
) -> None:
    """Train, export, serve, publish good and bad requests, and account for every one.

    Kafka runs in a temporary folder (its jars are downloaded once); CHIMERA_KAFKA__BOOTSTRAP uses a
    cluster of your own. Exit 0: nothing lost, duplicated or mismatched, and 95 % of the digits right.
    """
    import signal

    from chimera.schemas.errors import ChimeraError, ConfigurationError
    from chimera.schemas.settings import load

    for number in (signal.SIGINT, signal.SIGTERM):  # also where whoever started us ignores Ctrl-C
        signal.signal(number, signal.default_int_handler)
    try:
        settings = load()
        if keep and settings.kafka.bootstrap is not None:
            raise ConfigurationError("--keep is for the demo's own Kafka, not for your cluster")
        good = _run(settings, requests, json_file, keep)
    except ChimeraError as error:
        typer.echo(f"chimera demo: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("stopped; nothing is left behind", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if not good:
        raise typer.Exit(1)


def _run(settings: "Settings", requests: int, json_file: Path | None, keep: bool) -> bool:
    from chimera.cli import demo_table
    from chimera.cli.demo_stack import DemoStack
    from chimera.cli.demo_stages import Stages

    with Stages() as stages, DemoStack(settings, stages) as stack:
        stack.start()
        report = _measure(stack, stages, requests)
        if json_file is not None:
            json_file.write_text(demo_table.as_json(report), "utf-8")
        if keep:
            with stages.begin("handed to `chimera up`"):
                stack.hand_over()
        elif not report.is_good:
            stack.is_kept = True
        places = _places(stack, is_up=keep)
    demo_table.show(report, places)
    return report.is_good


def _measure(stack: "DemoStack", stages: "Stages", requests: int) -> "Report":
    import uvloop

    from chimera.cli import demo_requests, demo_table, demo_traffic, demo_verdict
    from chimera.topics.catalogue import catalogue

    topics = catalogue(stack.settings)
    digits = demo_requests.load(stack.folder / "digits.npz")
    with stages.begin("requests written"):
        plan = demo_requests.plan(digits, requests, stack.settings.serving.max_request_bytes)
    with stages.begin("requests answered", len(plan)) as stage:
        watch = demo_traffic.Watch(stage.update, stack.require_node, stack.stop_node)
        traffic = uvloop.run(
            demo_traffic.exchange(stack.settings, stack.bootstrap, topics, plan, watch)
        )
    with stages.begin("outcomes checked"):
        verdict = demo_verdict.judge(traffic.sent, traffic.answers, traffic.dead_letters, digits)
    return demo_table.report(verdict, traffic, plan)


def _places(stack: "DemoStack", *, is_up: bool) -> dict[str, str]:
    from chimera.topics.catalogue import catalogue

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
