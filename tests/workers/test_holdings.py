from chimera.schemas.manifest import File
from chimera.schemas.placements import Placement, Variant
from chimera.schemas.work import BatchStory, Loaded
from chimera.workers.holdings import Holdings


def placed(version: str, size_bytes: int = 0) -> Placement:
    variant = Variant("onnx-cpu", "", {"graph.onnx": File("0" * 64, size_bytes)})
    return Placement("m", version, version * 64, "", (variant,))


def loaded(version: str, size_bytes: int, refused: str = "") -> Loaded:
    return Loaded("m", version, version * 64, "onnx-cpu", 1, refused, size_bytes)


def test_size_is_that_of_the_files_until_it_is_measured() -> None:
    holdings = Holdings(None)
    one = placed("1", 10)
    assert holdings.size_bytes(one) == 10
    holdings.learn([loaded("1", 0, refused="damaged")])
    assert holdings.size_bytes(one) == 10
    holdings.learn([loaded("1", 40)])
    holdings.learn([loaded("1", 30)])
    assert holdings.size_bytes(one) == 40


def test_spare_that_answered_last_stays_longest() -> None:
    holdings = Holdings(100)
    for version in "1234":
        holdings.learn([loaded(version, 40)])
    spare = [placed("1"), placed("2"), placed("3")]
    holdings.note([BatchStory("m", "2", "2" * 64, "onnx-cpu", 1, 1)])
    chosen = holdings.choose([], [placed("4")], spare)
    assert [one.version for one in chosen.kept] == ["4", "2"]
    assert [one.version for one in chosen.evicted] == ["1", "3"]


def test_refusal_says_what_there_is() -> None:
    holdings = Holdings(100)
    holdings.learn([loaded("1", 60), loaded("2", 50)])
    (refused,) = holdings.choose([placed("1")], [placed("2")], []).refused
    assert (refused.model, refused.version) == ("m", "2")
    assert "takes 50 bytes" in refused.refused and "MODEL_MEMORY_BYTES" in refused.refused
