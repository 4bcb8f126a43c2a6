"""At least once: a node that is killed answers requests again, and the audit log says which leaves are repeats.

Results go with their segment of the journal, and offsets follow: a leaf may be there twice, and none is
missing.
"""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from chimera.schemas.transparency.leaves import OffsetsReconciled, RequestServed, decode_leaf
from tests.agents.sequencing.places import WITHIN_S, Place, play, sequencing, settings_of
from tests.integration import journals, test_journal
from tests.integration.test_journal import PARTITIONS, fill
from tests.integration.test_node import started_node
from tests.waiting import until
from tests.workers.rig import request

pytestmark = pytest.mark.timeout(240)  # a node for each life

COUNT = 200  # requests of a life
LIVES = (
    "after_produce:1",
    "",
    "after_produce:1",
    "",
)  # where each is killed: its answers have no offset yet


async def reconciled(place: Place, topic: str, end: int) -> list[OffsetsReconciled]:
    """Of each lane of the topic, once all of it is."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            leaves = [decode_leaf(one.body) for one in await place.leaves()]
            found = [
                one for one in leaves if isinstance(one, OffsetsReconciled) and one.topic == topic
            ]
            ended = {one.partition for one in found if int(one.end_offset) == end}
            if len(ended) == PARTITIONS:
                return found
            await asyncio.sleep(0.05)


@pytest.mark.campaign
def test_no_leaf_is_missing_and_repeats_are_marked(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_of(kafka, prefix, tmp_path, reconcile_ms=100)
    told = test_journal.settings_of(tmp_path) | {
        "CHIMERA_SERVING__GUARANTEE": "at_least_once",
        "CHIMERA_KAFKA__GROUP": settings.kafka.group,
    }
    topic, everything = f"{prefix}inference.requests", COUNT * len(LIVES)

    def rows() -> dict[journals.Where, int]:
        """How often each request stands in the journal."""
        found = journals.read(kafka, f"{prefix}inference.journal", PARTITIONS).rows
        return {where: len(of_it) for where, of_it in found.items()}

    def has_rows(requests: int) -> bool:
        return len(rows()) == requests

    for life, step in enumerate(LIVES):
        crash = {"CHIMERA_CRASH_AT": step} if step else {}
        with started_node(kafka, prefix, tmp_path, settings=told | crash) as node:
            names = [f"{life}-{at}" for at in range(COUNT)]
            fill(kafka, topic, {one: (request((1, 2), "sums", id=one), []) for one in names})
            if step:
                assert node.wait(60) == -9
            else:
                until(partial(has_rows, COUNT * (life + 1)))
                node.terminate()
                assert node.wait(30) == 0
    counts = rows()
    repeats = sum(counts.values()) - len(counts)
    assert repeats > 0

    async def work(place: Place) -> None:
        async with sequencing(settings):
            said = await reconciled(place, topic, everything // PARTITIONS)
            await place.signed(sum(counts.values()))
        leaves = [decode_leaf(one.body) for one in await place.leaves()]
        served = [one for one in leaves if isinstance(one, RequestServed)]
        where = [(one.topic, one.partition, int(one.offset)) for one in served]
        assert set(where) == counts.keys()
        assert {at: where.count(at) for at in counts} == counts
        assert {one.attempt for one in served} == {0}
        assert (sum(one.missing for one in said), sum(one.repeated for one in said)) == (0, repeats)
        verdict = await place.verdict()
        assert verdict.is_good, verdict.faults
        assert {span.guarantee for span in verdict.spans} == {"at_least_once"}
        assert sum(span.repeats for span in verdict.spans) == repeats
        first = min(at for at, one in enumerate(where) if one in where[:at])
        marks = [one.first_repeat for one in verdict.spans if one.first_repeat is not None]
        assert leaves[min(marks)] == served[first]

    play(settings, work)
