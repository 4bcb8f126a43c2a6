"""`chimera doctor` on the cluster: address, features, topics, lanes, and a probe all the way round.

The probe is a request of zeros for a model of the models folder: its result proves producer, node,
executor, transaction and reader at once. `tests/cli/test_doctor.py` runs it on a real node.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from chimera.cli.asking import results
from chimera.cli.asking.asking import Answer, ask
from chimera.cli.asking.question import zeros
from chimera.cli.checkup.findings import Finding, failed, note, ok
from chimera.cli.offsets import positions
from chimera.cli.stack.state import find_bootstrap
from chimera.schemas.errors import ChimeraError, ConfigurationError, KafkaUnavailable
from chimera.schemas.settings import Settings
from chimera.topics import admin, clients, stranded
from chimera.topics.catalogue import catalogue
from chimera.topics.transactions import features, require_features
from chimera.workers import models

PROBE_WITHIN_S = 15.0


async def check(settings: Settings, bootstrap: str | None) -> list[Finding]:
    """One after the other; what cannot be asked any more is left out."""
    try:
        clients.check(settings.kafka)
        where = bootstrap or find_bootstrap(settings)
    except ConfigurationError as error:
        if settings.kafka.bootstrap is None and "no stack runs" in str(error):
            return [note("broker", str(error))]
        return [failed("broker", str(error), "correct the setting")]
    try:
        findings, in_order = await _broker(settings, where)
        if in_order:
            findings += await _lanes(settings, where)
    except KafkaUnavailable as error:
        return [failed("broker", str(error), "start it (`chimera up`), or correct its address")]
    return findings


async def _broker(settings: Settings, where: str) -> tuple[list[Finding], bool]:
    topics = catalogue(settings)
    async with admin.connected(settings.kafka, where) as client:
        level = (await features(client)).get("transaction.version", 0)
        found = [ok("broker", f"{where} answers; transaction.version {level}")]
        if settings.serving.guarantee == "exactly_once":
            try:
                await require_features(client)
            except KafkaUnavailable as error:
                found.append(failed("broker", str(error), "raise the feature, or choose the other"))
        differences = await admin.plan(client, topics)
        arguments = clients.consumer_arguments(settings.kafka, where, "chimera-doctor")
        waiting = await stranded.stranded(client, topics, settings.kafka.group, arguments)
    found += [failed("topics", str(one), stranded.ADVICE) for one in waiting]
    if not differences:
        return [*found, ok("topics", f"all {len(list(topics))} are as they should be")], True
    sync = "`chimera topics sync --apply`"
    found += [failed("topics", str(one), one.advice or sync) for one in differences]
    return found, False


async def _lanes(settings: Settings, where: str) -> list[Finding]:
    found: list[Finding] = []
    async with positions.opened(settings, where) as desk:
        members = await desk.members()
        for one in await desk.survey():
            if one.trouble:
                lane = f"{one.topic}-{one.partition}"
                found.append(
                    failed("lanes", f"{lane} halts: {one.trouble}", "`chimera offsets list`")
                )
    group = settings.kafka.group
    if not members:
        return [
            *found,
            note("node", f"none is in group {group}", "`chimera up`, or `chimera node`"),
        ]
    return [*found, ok("node", f"{members} in group {group}"), await _probe(settings, where)]


async def _probe(settings: Settings, where: str) -> Finding:
    for version in models.find(settings.serving.models_dir).versions:
        question = zeros(version.manifest)
        if question is not None:
            break
    else:
        return note("probe", "no model here to send zeros to", "CHIMERA_SERVING__MODELS_DIR")
    name = f"{version.manifest.name} {version.manifest.version}"
    try:
        answer = await ask(settings, where, question, PROBE_WITHIN_S)
    except ChimeraError as error:
        return failed("probe", f"{name}: {error}", "see the findings above")
    if answer is None:
        found = f"{name}: no result within {PROBE_WITHIN_S:.0f} s"
        return failed("probe", found, "see the node's log, and `chimera watch`")
    return _judged(name, answer)


def _judged(name: str, answer: Answer) -> Finding:
    if answer.code is None:
        return ok("probe", f"{name}: request to visible result in {answer.took_s * 1000:.0f} ms")
    told = results.head_of(answer.value, answer.head).get("error")
    return failed(
        "probe",
        f"{name}: {answer.code}: {told}",
        "does the node serve the models of this folder? compare CHIMERA_SERVING__MODELS_DIR",
    )
