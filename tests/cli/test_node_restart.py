"""A node that was killed is followed by the next one at once, not when its session ends."""

import json
from dataclasses import replace

from tests.cli.places import Place, image

SESSION = {
    "CHIMERA_KAFKA__SESSION_TIMEOUT_MS": "120000",
    "CHIMERA_KAFKA__HEARTBEAT_INTERVAL_MS": "1000",
}


def test_next_node_does_not_wait_for_the_session_of_a_dead_one(place: Place) -> None:
    place = replace(place, environment={**place.environment, **SESSION})
    asked = json.dumps(image(3))
    first = place.node()
    try:
        answer = place.run("infer", "digits", "--input", "-", "--timeout", "60", text=asked)
        assert answer.returncode == 0, answer.stderr
    finally:
        first.kill()
    second = place.node()
    try:
        answer = place.run(
            "infer", "digits", "--input", "-", "--timeout", "60", text=asked, within_s=90
        )
        assert answer.returncode == 0, answer.stderr
    finally:
        assert second.stop(30) == 0
    assert not list((place.folder / "stack" / "members").iterdir())
