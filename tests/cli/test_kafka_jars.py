"""The jars: fetched once from a repository of the test's own, checked, kept, and never half."""

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chimera.cli.kafka.jars import Jar, Pinned, class_path, pinned
from chimera.schemas.errors import ConfigurationError, KafkaUnavailable

CONTENT = {"one": b"first jar" * 1000, "two": b"second jar" * 5000}


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[str]:
    """A Maven repository on loopback with the jars of `CONTENT`; its URL."""
    root = tmp_path / "repository"
    for name, content in CONTENT.items():
        path = root / "org" / "example" / name / "1.0" / f"{name}-1.0.jar"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # the name is the parent's
        pass


def jar(name: str, content: bytes | None = None) -> Jar:
    content = CONTENT[name] if content is None else content
    return Jar(f"org.example:{name}:1.0", hashlib.sha256(content).hexdigest(), len(content))


PIN = Pinned("4.1.0", (jar("one"), jar("two")))


def test_class_path_is_fetched_once_and_needs_no_network_then(
    tmp_path: Path, repository: str
) -> None:
    folder = tmp_path / "jars"
    first = class_path(folder, pin=PIN, repositories={"test": repository})
    assert [path.read_bytes() for path in first] == list(CONTENT.values())
    assert class_path(folder, pin=PIN, repositories={"none": "http://127.0.0.1:9"}) == first
    assert sorted(path.name for path in folder.iterdir()) == ["one-1.0.jar", "two-1.0.jar"]


def test_class_path_reports_bytes_up_to_the_whole(tmp_path: Path, repository: str) -> None:
    seen: list[tuple[int, int]] = []
    total = sum(len(content) for content in CONTENT.values())

    def progress(done: int, whole: int) -> None:
        seen.append((done, whole))

    class_path(tmp_path / "jars", progress, pin=PIN, repositories={"test": repository})
    assert seen[0] == (0, total)
    assert seen[-1] == (total, total)
    assert seen == sorted(seen)


def test_class_path_refuses_a_jar_that_is_not_the_pinned_one(
    tmp_path: Path, repository: str
) -> None:
    changed = Pinned("4.1.0", (jar("one", b"x" * len(CONTENT["one"])),))
    with pytest.raises(KafkaUnavailable, match=r"org\.example:one:1\.0 .*SHA-256"):
        class_path(tmp_path / "jars", pin=changed, repositories={"test": repository})
    assert list((tmp_path / "jars").iterdir()) == []


def test_class_path_replaces_a_jar_of_another_size(tmp_path: Path, repository: str) -> None:
    folder = tmp_path / "jars"
    folder.mkdir()
    (folder / "one-1.0.jar").write_bytes(b"half")
    found = class_path(folder, pin=PIN, repositories={"test": repository})
    assert found[0].read_bytes() == CONTENT["one"]


def test_class_path_without_a_network_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(KafkaUnavailable, match="needs the network once.*KAFKA__BOOTSTRAP"):
        class_path(tmp_path, pin=PIN, repositories={"none": "http://127.0.0.1:9"})


def test_class_path_in_a_folder_that_cannot_be_made_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="CHIMERA_KAFKA__JARS_DIR"):
        class_path(tmp_path / "file" / "jars", pin=PIN, repositories={})


def test_pinned_names_one_kafka_of_4_1_and_each_jar_once() -> None:
    pin = pinned()
    names = [one.file_name for one in pin.jars]
    assert pin.kafka.startswith("4.1.")
    assert f"kafka_2.13-{pin.kafka}.jar" in names
    assert len(set(names)) == len(names)
