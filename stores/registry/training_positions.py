"""How far topics of training were read, beside Kafka's own group: that forgets after a week of rest.

By the topic's id, so one that was made anew begins at its start. `tests/agents/training/test_desk.py`
deletes the group.
"""

from chimera.stores.postgres import Database

_KEEP = """
INSERT INTO training_positions (topic_id, next_offset) VALUES ($1, $2)
ON CONFLICT (topic_id) DO UPDATE SET next_offset = excluded.next_offset
"""


class TrainingPositions:
    """For the one who leads; of no tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, topic_id: str) -> int | None:
        """The offset that is next; None: nothing was read. Raises PostgresUnavailable."""
        async with self._database.platform() as connection:
            found: int | None = await connection.fetchval(
                "SELECT next_offset FROM training_positions WHERE topic_id = $1", topic_id
            )
        return found

    async def keep(self, topic_id: str, offset: int) -> None:
        """It is next. Raises PostgresUnavailable."""
        async with self._database.platform() as connection:
            await connection.execute(_KEEP, topic_id, offset)
