"""Writes `cli/kafka/jars.json`: what one version of Kafka needs, as Maven resolves it, with hashes.

    uv run python deploy/pin_kafka.py 4.1.2

Needs the network. The resolution happens here, once a version, and never on a user's machine.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import jgo
from jgo.maven import MavenContext

LOGGING = "org.slf4j:slf4j-simple:1.7.36"  # of the slf4j-api that Kafka 4.1 asks for
TARGET = Path(__file__).resolve().parent.parent / "cli" / "kafka" / "jars.json"


def rows(version: str, scratch: Path) -> list[dict[str, str | int]]:
    maven = MavenContext(repo_cache=scratch, local_repos=[])
    found: list[dict[str, str | int]] = []
    for artifact in jgo.resolve(f"org.apache.kafka:kafka_2.13:{version}+{LOGGING}"):
        group, name, of = artifact.groupId, artifact.artifactId, artifact.version
        content = maven.project(group, name).at_version(of).artifact().resolve().read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        found.append({"jar": f"{group}:{name}:{of}", "sha256": digest, "size_bytes": len(content)})
    return sorted(found, key=lambda row: str(row["jar"]))


def main() -> None:
    version = sys.argv[1]
    with tempfile.TemporaryDirectory() as scratch:
        lines = ",\n".join(f"    {json.dumps(row)}" for row in rows(version, Path(scratch)))
    TARGET.write_text(f'{{\n  "kafka": "{version}",\n  "jars": [\n{lines}\n  ]\n}}\n', "utf-8")


if __name__ == "__main__":
    main()
