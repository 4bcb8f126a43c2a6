"""The app of a node, started on a real broker."""

from pathlib import Path

from tests.integration.test_node import started_node


def test_started_app_leaves_nothing_in_the_working_folder(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    working = tmp_path / "working"
    working.mkdir()
    with started_node(kafka, prefix, tmp_path, cwd=working) as node:
        node.terminate()
        assert node.wait(timeout=30) == 0
    assert list(working.iterdir()) == []
