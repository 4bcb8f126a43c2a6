"""An interface of the warehouse that answers on a thread of its own, for tests to ask."""

import asyncio
import threading
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from prometheus_client import CollectorRegistry, Counter

from chimera.cli.warehousing.http_answers import Answers
from chimera.cli.warehousing.http_interface import Interface, serving
from chimera.cli.warehousing.http_writes import Patience
from chimera.stores.readers import ReaderLimits, Readers

READERS = 2
PATIENCE = Patience(whole_s=20)


class Said(NamedTuple):
    status: int
    headers: Message
    body: bytes


class Served:
    """An interface that answers on a thread of its own."""

    def __init__(
        self, folder: Path, password: str | None = None, patience: Patience = PATIENCE
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._address: asyncio.Future[str] = self._loop.create_future()
        self._begun = threading.Event()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._serve(folder, password, patience),)
        )
        self._thread.start()
        self._begun.wait()
        self.address = self._address.result()

    async def _serve(self, folder: Path, password: str | None, patience: Patience) -> None:
        registry = CollectorRegistry()
        Counter("chimera_sink_rows", "Rows", registry=registry).inc(7)
        answers = Answers(Readers(folder, ReaderLimits(seconds=20), READERS))
        interface = Interface(answers, password, registry, patience)
        async with serving(interface, "127.0.0.1", 0) as address:
            self._address.set_result(address)
            self._begun.set()
            await self._ended.wait()
        answers.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._loop.close()

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def say(self, path: str, body: bytes | None = None, **headers: str) -> Said:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"{self.address}{path}", body, named)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Said(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            return Said(error.code, error.headers, error.read())

    def ask(self, sql: str, **parameters: str) -> Said:
        return self.say(f"/?{urlencode(parameters)}", sql.encode())
