"""Where the topics on a broker are not what the catalogue says. Pure.

What is missing is created, partitions are only ever added, configuration is set. What could lose
records or needs data moved (another clean-up policy, fewer replicas, too many partitions) is for a
person to decide. A request keeps its partition number in every paired topic, so the largest count
among them is what all of them need (DESIGN 4, 5.9).
`tests/topics/test_differences.py` states the rules.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from chimera.topics.catalogue import FOREVER, Catalogue, Topic

Remedy = Literal["create", "add partitions", "configure"]

NO_TOPIC = "no topic"


@dataclass(frozen=True, slots=True)
class Found:
    """A topic as the broker describes it."""

    topic_id: str
    partitions: int
    replication: int  # of the partition that has the fewest
    config: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Difference:
    """One property of one topic; `remedy` is what `admin.apply` does, None: `advice` is for you."""

    topic: Topic
    what: str  # "partitions", "replicas", or the name of a configuration
    wanted: str
    found: str
    remedy: Remedy | None = None
    advice: str = ""

    def __str__(self) -> str:
        text = f"{self.topic.name}: {self.what}: {self.found}, should be {self.wanted}"
        return f"{text} ({self.advice})" if self.advice else text


def differences(catalogue: Catalogue, found: Mapping[str, Found]) -> list[Difference]:
    """All of them, in the catalogue's order; `found` has the topics that exist, by name."""
    paired = [topic.name for topic in catalogue.paired]
    lanes = max([found[name].partitions for name in paired if name in found], default=0)
    result: list[Difference] = []
    for topic in catalogue:
        partitions = max(topic.partitions, lanes) if topic.name in paired else topic.partitions
        there = found.get(topic.name)
        if there is None:
            result.append(Difference(topic, "partitions", str(partitions), NO_TOPIC, "create"))
        else:
            result += _partitions(topic, partitions, there)
            result += _replicas(topic, there)
            result += _config(topic, there)
    return result


def _partitions(topic: Topic, wanted: int, found: Found) -> Iterator[Difference]:
    if found.partitions < wanted:
        shown = str(found.partitions)
        yield Difference(topic, "partitions", str(wanted), shown, "add partitions")
    count = max(found.partitions, wanted)
    if count > topic.partitions:
        advice = "none can be taken away"
        if wanted > topic.partitions:
            advice = f"none can be taken away: set CHIMERA_KAFKA__PARTITIONS={wanted}"
        yield Difference(topic, "partitions", str(topic.partitions), str(count), advice=advice)


def _replicas(topic: Topic, found: Found) -> Iterator[Difference]:
    if found.replication < topic.replication:
        yield Difference(
            topic,
            "replicas",
            str(topic.replication),
            str(found.replication),
            advice="add replicas with kafka-reassign-partitions.sh",
        )


def _config(topic: Topic, found: Found) -> Iterator[Difference]:
    for name, wanted in topic.config.items():
        there = found.config.get(name, "unset")
        if there == wanted or (name == "retention.ms" and _kept_longer(there, wanted)):
            continue
        if name == "cleanup.policy":
            advice = "either way records would go: change it with kafka-configs.sh"
            yield Difference(topic, name, wanted, there, advice=advice)
        else:
            yield Difference(topic, name, wanted, there, "configure")


def _kept_longer(found: str, wanted: str) -> bool:
    """Longer retention is an operator's good right."""
    if found == str(FOREVER):
        return True
    return wanted != str(FOREVER) and found.isdigit() and int(found) > int(wanted)
