"""What an inspection takes, and what it may use: settings, cut down to what the process needs."""

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chimera.schemas.model_settings import ArtifactsSettings
    from chimera.schemas.signing import PublicKey


class Rules(msgspec.Struct, frozen=True):
    """See the settings of the same names."""

    definitions: tuple[str, ...] = ()
    operator_domains: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()  # public keys, as text: whose programs are taken
    max_graph_nodes: int = 50_000
    max_tensors: int = 50_000
    max_file_bytes: int = 32 << 30
    cpu_s: int = 5
    memory_bytes: int = 512 << 20


def rules(settings: "ArtifactsSettings", trusted: "Iterable[PublicKey]") -> Rules:
    return Rules(
        settings.definitions,
        settings.operator_domains,
        tuple(key.text for key in trusted),
        settings.max_graph_nodes,
        settings.max_tensors,
        settings.max_file_bytes,
        settings.inspection_cpu_s,
        settings.inspection_memory_bytes,
    )
