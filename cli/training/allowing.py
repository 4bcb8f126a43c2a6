"""The rights of a tenant's actors, as the registry keeps them. `tests/cli/test_train_agent.py`."""

from collections.abc import Iterable

import msgspec

from chimera.cli.models.registry import opened
from chimera.schemas.settings import load
from chimera.schemas.training_rights import POLICY, TrainingRights, rights_of


async def change(
    tenant: str, who: str, rights: Iterable[str], actor: str, *, revoke: bool
) -> TrainingRights:
    """Give rights to an actor, or take them; all rights as they are then.

    Raises:
        SchemaInvalid: what stands in the registry is none. ConfigurationError, PostgresUnavailable.
    """
    wanted = list(rights)
    async with opened(load().postgres, tenant) as registry:
        policy = await registry.policy(POLICY)
        found = TrainingRights() if policy is None else rights_of(policy.body)
        for right in wanted:
            others = [one for one in getattr(found, right) if one != who]
            lines = tuple(others if revoke else [*others, who])
            found = msgspec.structs.replace(found, **{right: lines})
        if wanted:
            await registry.put_policy(POLICY, msgspec.to_builtins(found), actor=actor)
    return found
