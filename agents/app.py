"""The Faust app of a node: our transport, committed records only, none of Faust's own commits.

Agents are imported by name where the app is made, so that a broken one fails loudly.
`tests/agents/test_app.py` proves that it writes no file.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import faust
from faust.tables.manager import TableManager

from chimera.schemas.settings import Settings
from chimera.topics import clients

STREAM_RUNS = 4_096  # lanes pause partitions long before this; Faust's own limit never acts


class NodeApp(faust.App):
    """A Faust app that knows its node's settings; the transport reads them."""

    settings: Settings

    async def on_first_start(self) -> None:
        """Nothing: Faust would make folders for its tables, in the working folder.

        There are no tables, and where a node is another user's than its folder, as in our image,
        it could not start.
        """


class NoTables(TableManager):
    """Faust's waits a second for tables to be declared before partitions are asked for."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


def new_app(settings: Settings, bootstrap: str) -> NodeApp:
    """An app with no agents yet; it starts nothing by itself."""
    kafka = settings.kafka
    app = NodeApp(
        kafka.group,
        broker=[f"chimera://{address}" for address in clients.addresses(bootstrap)],
        autodiscover=False,
        store="memory://",
        TableManager=NoTables,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        stream_wait_empty=False,
        stream_buffer_maxsize=STREAM_RUNS,
        broker_session_timeout=kafka.session_timeout_ms / 1000,
        broker_heartbeat_interval=kafka.heartbeat_interval_ms / 1000,
        broker_request_timeout=kafka.request_timeout_ms / 1000,
    )
    app.settings = settings
    return app
