"""A thread that lives as long as a `with`: it ends when that is left, and no error of it is lost.

`tests/integration/test_harness_background.py` shows that an error in the thread comes out.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Self


class Background(ABC):
    """A context: `_run` goes on in a thread of its own until the context is left.

    Leaving it raises what the thread raised; if the context's body raised too, both, as a group.
    """

    def __init__(self, name: str) -> None:
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._keep_error, name=name)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.end(error)

    @abstractmethod
    def _run(self) -> None:
        """What the thread does; it returns soon after `_stopping` is set."""

    def _every(self, seconds: float) -> Iterator[None]:
        """A turn every so often, until the thread has to end."""
        while not self._stopping.wait(seconds):
            yield

    def end(self, meanwhile: BaseException | None = None) -> None:
        """End the thread, if it runs, and wait for that; raises what it raised, once."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        error, self._error = self._error, None
        if error is None:
            return
        if meanwhile is not None:
            raise BaseExceptionGroup(f"in and beside {self._thread.name}", [meanwhile, error])
        raise error

    def _keep_error(self) -> None:
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001  # whoever leaves the context hears of it
            self._error = error
