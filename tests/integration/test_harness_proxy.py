"""The bad network does what it is told, frame by frame."""

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from chimera.cli.stack.ports import HOST
from tests.integration.chaos.proxy import END_TXN, PRODUCE, Proxy, Rule


class Echo:
    """A broker that answers each request with itself, and remembers it."""

    def __init__(self) -> None:
        self.seen: dict[bytes, float] = {}  # chunk -> when it came, on the monotonic clock
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._echo, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _echo(self, connection: socket.socket) -> None:
        with connection:
            try:
                while chunk := connection.recv(65_536):
                    self.seen[chunk] = time.monotonic()
                    connection.sendall(chunk)
            except ConnectionError:
                return  # the proxy has reset it

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(30)


@pytest.fixture
def broker() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def proxy(broker: Echo) -> Iterator[Proxy]:
    with Proxy(broker.port) as found:
        yield found


def frame(api_key: int, text: bytes = b"hello") -> bytes:
    return struct.pack(">ih", 2 + len(text), api_key) + text


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection((HOST, proxy.port), timeout=30)


def wait_for(broker: Echo, wanted: bytes, within_s: float = 30.0) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if wanted in broker.seen:
            return True
        time.sleep(0.01)
    return False


def test_proxy_passes_requests_and_answers(proxy: Proxy) -> None:
    with connect(proxy) as client:
        client.sendall(frame(PRODUCE))
        assert client.recv(100) == frame(PRODUCE)


def test_proxy_delivers_a_held_request_after_its_client_has_gone(
    broker: Echo, proxy: Proxy
) -> None:
    proxy.rules.append(Rule(END_TXN, "hold", seconds=0.5))
    with connect(proxy) as client:
        client.sendall(frame(PRODUCE))
        assert client.recv(100) == frame(PRODUCE)
        sent = time.monotonic()
        client.sendall(frame(END_TXN))
    assert wait_for(broker, frame(END_TXN))
    assert broker.seen[frame(END_TXN)] - sent >= 0.5
    assert proxy.rules[0].fired == 1


def test_proxy_loses_an_answer_but_not_its_request(broker: Echo, proxy: Proxy) -> None:
    proxy.rules.append(Rule(END_TXN, "lose_answer", after=1))
    with connect(proxy) as client:
        client.sendall(frame(END_TXN, b"first"))
        assert client.recv(100) == frame(END_TXN, b"first")
        client.sendall(frame(END_TXN, b"second"))
        with pytest.raises(ConnectionResetError):
            client.recv(100)
    assert wait_for(broker, frame(END_TXN, b"second"))


def test_proxy_loses_a_request(broker: Echo, proxy: Proxy) -> None:
    proxy.rules.append(Rule(PRODUCE, "lose_request"))
    with connect(proxy) as client:
        client.sendall(frame(PRODUCE))
        with pytest.raises(ConnectionResetError):
            client.recv(100)
    assert not broker.seen


def test_proxy_stalls_without_ending(proxy: Proxy) -> None:
    proxy.stall()
    with connect(proxy) as client:
        client.sendall(frame(PRODUCE))
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(100)
        proxy.go_on()
        client.settimeout(30)
        assert client.recv(100) == frame(PRODUCE)


def test_proxy_resets_after_so_many_bytes(proxy: Proxy) -> None:
    proxy.drop_after = 1_000
    with connect(proxy) as client, pytest.raises(ConnectionError):
        for _ in range(200):
            client.sendall(frame(PRODUCE, bytes(90)))
            assert client.recv(1_000)


def test_proxy_resets_all_connections(proxy: Proxy) -> None:
    with connect(proxy) as client:
        client.sendall(frame(PRODUCE))
        assert client.recv(100)
        proxy.reset_all()
        with pytest.raises(ConnectionResetError):
            client.recv(100)


def test_proxy_adds_latency(proxy: Proxy) -> None:
    proxy.latency_s = 0.2
    with connect(proxy) as client:
        began = time.monotonic()
        client.sendall(frame(PRODUCE))
        assert client.recv(100)
        assert time.monotonic() - began >= 0.2
