"""What a decided prefix becomes: batches that their topics take."""

# pyright: reportMissingTypeStubs=false
# (aiokafka ships no type information)

from aiokafka.record.default_records import DefaultRecordBatch

from chimera.agents.lanes.outcomes import Composer
from chimera.schemas.headers import tail
from chimera.schemas.serving_settings import ServingSettings
from chimera.schemas.settings import Settings
from chimera.topics.catalogue import catalogue
from tests.agents.lanes import Kafka


def test_batches_fit_their_topic_however_small_its_limit() -> None:
    topics = catalogue(Settings(serving=ServingSettings(max_result_bytes=1_000)))
    prefix = [(Kafka(offset), tail(bytes(900), 0, b"")) for offset in range(300)]
    produced = Composer(topics, partition=3).compose(prefix)
    encoded = [one.records.sent_by(1, 0, 0, transactional=True) for one in produced]
    assert max(len(batch) for batch in encoded) <= topics.results.max_message_bytes
    read = [record for batch in encoded for record in DefaultRecordBatch(batch)]
    assert len(read) == 300
    assert {(one.topic, one.partition) for one in produced} == {(topics.results.name, 3)}
