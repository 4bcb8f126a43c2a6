from chimera.workers.dispatching.deadlines import NO_DEADLINES, Deadlines

NOW_MS, NOW_US = 1_763_717_416_000, 5_000_000


def test_next_deadline_is_the_first_that_is_still_to_come() -> None:
    found = Deadlines([NOW_MS + 30, NOW_MS + 10, NOW_MS + 10], NOW_MS, NOW_US)
    assert found.next_us(NOW_US) == NOW_US + 10_000
    assert found.next_us(NOW_US + 10_000) == NOW_US + 30_000


def test_batch_that_nobody_waits_for_any_more_has_its_deadline_now() -> None:
    found = Deadlines([NOW_MS + 10, NOW_MS - 10], NOW_MS, NOW_US)
    assert found.next_us(NOW_US + 10_000) == NOW_US + 10_000
    assert found.next_us(NOW_US + 99_000) == NOW_US + 99_000


def test_request_without_a_deadline_waits_for_ever() -> None:
    found = Deadlines([NOW_MS + 10, 0], NOW_MS, NOW_US)
    assert found.next_us(NOW_US) == NOW_US + 10_000
    assert found.next_us(NOW_US + 10_000) is None
    assert NO_DEADLINES.next_us(NOW_US) is None
