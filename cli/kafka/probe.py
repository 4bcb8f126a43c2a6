"""Does this very broker truly serve: both coordinators, every partition of theirs, over the wire.

A port that takes connections is not enough: the topics behind consumer groups and transactions are
made on first use, and a restarted broker loads them in the background. The probe asks both
coordinators for every partition, with requests that change nothing: the offsets of groups that
nobody has, and the end of transactions that nobody began. Whoever answers must also have the cluster's id: of
two that start on one port at the same time one ends, and the other would answer for it. It writes Kafka's oldest, fixed-width
messages by hand, so it needs no event loop and works wherever a start is called from.
`tests/cli/test_kafka.py` opens groups and transactions right after it.
"""

import socket
import struct

_FIND_COORDINATOR, _OFFSET_FETCH, _END_TXN = (10, 1), (9, 2), (26, 0)  # api key, version
_METADATA = (3, 2)  # the first that has the cluster's id
_GROUP, _TRANSACTION = 0, 1  # coordinator types
_INVALID_PRODUCER_ID_MAPPING = 49  # what a loaded coordinator says of an unknown transactional id
_CALL_TIMEOUT_S = 5.0


def missing(host: str, port: int, partitions: int, cluster_id: str) -> str | None:
    """What the broker does not serve yet, in words; None when it serves everything.

    Args:
        partitions: of each coordinator's topic, at most ten.
        cluster_id: of the cluster that is meant.
    """
    try:
        with socket.create_connection((host, port), _CALL_TIMEOUT_S) as connection:
            if (found := _cluster_id(connection)) != cluster_id:
                return f"cluster {found} answers at {host}:{port}, not {cluster_id}"
            return _missing(connection, partitions)
    except OSError as error:
        return f"no answer at {host}:{port} ({error})"


def _missing(connection: socket.socket, partitions: int) -> str | None:
    # A topic's partition is the name's Java hash modulo their number, and the hashes of names that
    # differ in their last digit alone follow one another: n names are in n partitions.
    for digit in range(partitions):
        name = f"chimera-probe-{digit}"
        error = _coordinator(connection, name, _GROUP) or _offsets(connection, name)
        if error:
            return f"the group coordinator answers with error {error}"
        error = _coordinator(connection, name, _TRANSACTION) or _end(connection, name)
        if error != _INVALID_PRODUCER_ID_MAPPING:
            return f"the transaction coordinator answers with error {error}"
    return None


def _cluster_id(connection: socket.socket) -> str | None:
    answer = _Answer(_call(connection, _METADATA, struct.pack(">i", 0)))  # of no topic
    for _ in range(answer.number()):  # brokers: id, host, port, rack
        answer.number()
        answer.text()
        answer.number()
        answer.text()
    return answer.text()


def _coordinator(connection: socket.socket, name: str, kind: int) -> int:
    answer = _call(connection, _FIND_COORDINATOR, _text(name) + struct.pack(">b", kind))
    return int(struct.unpack_from(">ih", answer)[1])


def _offsets(connection: socket.socket, group: str) -> int:
    answer = _call(connection, _OFFSET_FETCH, _text(group) + struct.pack(">i", -1))
    return int(struct.unpack(">h", answer[-2:])[0])


def _end(connection: socket.socket, transactional_id: str) -> int:
    answer = _call(connection, _END_TXN, _text(transactional_id) + struct.pack(">qh?", 0, 0, False))
    return int(struct.unpack_from(">ih", answer)[1])


def _call(connection: socket.socket, api: tuple[int, int], body: bytes) -> bytes:
    request = struct.pack(">hhi", *api, 0) + _text("chimera-probe") + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    (size_bytes,) = struct.unpack(">i", _read(connection, 4))
    return _read(connection, size_bytes)[4:]


def _read(connection: socket.socket, size_bytes: int) -> bytes:
    found = b""
    while len(found) < size_bytes:
        part = connection.recv(size_bytes - len(found))
        if not part:
            raise ConnectionResetError("the broker closed the connection")
        found += part
    return found


class _Answer:
    """Read from its start on."""

    def __init__(self, raw: bytes) -> None:
        self._raw, self._at = raw, 0

    def number(self) -> int:
        (value,) = struct.unpack_from(">i", self._raw, self._at)
        self._at += 4
        return int(value)

    def text(self) -> str | None:
        (size_bytes,) = struct.unpack_from(">h", self._raw, self._at)
        begin = self._at + 2
        self._at = begin + max(size_bytes, 0)
        return None if size_bytes < 0 else self._raw[begin : self._at].decode()


def _text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack(">h", len(encoded)) + encoded
