import socket
import threading
import time
from collections.abc import Iterator

import pytest

from chimera.workers import frames, work_frames
from chimera.workers.frames import BrokenFrame, Kind
from chimera.workers.link import Closed, Link
from tests.workers.rig import work


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Link]]:
    ours, theirs = socket.socketpair()
    with ours, Link(theirs) as link:
        yield ours, link


def test_nothing_comes_in_time(ends: tuple[socket.socket, Link]) -> None:
    started = time.monotonic()
    assert ends[1].receive(0.05) is None
    assert 0.05 <= time.monotonic() - started


def test_large_frame_comes_whole_however_it_is_sent(ends: tuple[socket.socket, Link]) -> None:
    sent = work_frames.frame_work(7, work([b"x" * 1_000_000] * 20))
    node, link = ends

    def send() -> None:
        for start in range(0, len(sent), 777_777):
            node.sendall(sent[start : start + 777_777])
            time.sleep(0.001)

    with_sender = threading.Thread(target=send)
    with_sender.start()
    found = link.receive(30)
    with_sender.join()
    assert found == (Kind.WORK, sent[frames.HEADER.size :])


def test_frame_without_a_body_is_one(ends: tuple[socket.socket, Link]) -> None:
    ends[0].sendall(frames.frame(Kind.CONFIGURE))
    assert ends[1].receive(30) == (Kind.CONFIGURE, b"")


def test_wake_ends_a_wait(ends: tuple[socket.socket, Link]) -> None:
    link = ends[1]
    timer = threading.Timer(0.05, link.wake)
    timer.start()
    started = time.monotonic()
    assert link.receive(60) is None
    assert time.monotonic() - started < 50
    timer.join()


def test_wakes_that_nobody_waited_for_are_few(ends: tuple[socket.socket, Link]) -> None:
    link = ends[1]
    for _ in range(20_000):
        link.wake()
    started = time.monotonic()
    for _ in range(100):
        link.receive(0)
    assert link.receive(0.2) is None
    assert time.monotonic() - started >= 0.2


@pytest.mark.parametrize("sent", [b"", b"\x1e", frames.frame_forget(1)[:-1]])
def test_end_of_the_node_is_told(ends: tuple[socket.socket, Link], sent: bytes) -> None:
    node, link = ends
    node.sendall(sent)
    node.close()
    with pytest.raises(Closed):
        link.receive(30)
    with pytest.raises(Closed):
        link.send(b"x" * 10_000_000)


def test_what_is_no_frame_is_refused(ends: tuple[socket.socket, Link]) -> None:
    ends[0].sendall(b"GET / HTTP/1.1\r\n")
    with pytest.raises(BrokenFrame):
        ends[1].receive(5)
