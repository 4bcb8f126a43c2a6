"""What a person gives to `chimera infer`, as a request: the whole one, its inputs, or a bare array.

    {"inputs": [...], ...}     as it is, with the model's name and an id where they are missing
    [[0.1, 0.2], [0.3, 0.4]]   the only input of the model, by its manifest in the folder of models

`tests/cli/test_infer.py` holds each form and each refusal.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import orjson

from chimera.schemas.errors import ConfigurationError
from chimera.schemas.manifest import Manifest, TensorSpec
from chimera.schemas.settings import Settings
from chimera.workers import models


@dataclass(frozen=True, slots=True)
class Question:
    """A request's value and what goes beside it."""

    value: bytes
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()


def question(settings: Settings, model: str, version: str | None, text: bytes) -> Question:
    """The request that `text`, a file's content, stands for.

    Raises:
        ConfigurationError: not JSON, another model or version than asked for, or neither a request
            nor an array for a model with one input.
    """
    try:
        given: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"the input is not JSON: {error}") from None
    if isinstance(given, dict):
        body = cast(dict[str, Any], given)
    else:
        body = {"inputs": [_tensor(settings, model, version, given)]}
    if "inputs" not in body:
        raise _unusable('an object without "inputs"')
    body = {"model_name": model, "id": secrets.token_hex(8), **body}
    _require_same("model_name", body["model_name"], model)
    if version is not None:
        body.setdefault("model_version", version)
        _require_same("model_version", body["model_version"], version)
    return Question(orjson.dumps(body))


def zeros(manifest: Manifest) -> Question | None:
    """A request of zeros that the model takes; None where an input is text."""
    tensors: list[dict[str, Any]] = []
    for spec in manifest.inputs:
        if spec.datatype in ("BYTES", "BF16"):
            return None
        shape = [max(size, 1) for size in spec.shape]
        data = np.zeros(int(np.prod(shape))).tolist()
        if spec.datatype == "BOOL":
            data = [False] * len(data)
        elif "INT" in spec.datatype:
            data = [0] * len(data)
        tensors.append({"name": spec.name, "shape": shape, "datatype": spec.datatype, "data": data})
    body = {
        "model_name": manifest.name,
        "model_version": manifest.version,
        "id": f"probe-{secrets.token_hex(4)}",
        "inputs": tensors,
    }
    return Question(orjson.dumps(body))


def _tensor(settings: Settings, model: str, version: str | None, array: object) -> dict[str, Any]:
    """A bare array as the one input; a missing batch dimension is put before."""
    if not isinstance(array, list):
        raise _unusable(f"a bare {type(array).__name__}")
    spec = _only_input(settings, model, version)
    try:
        shape = list(np.shape(cast(Any, array)))
    except ValueError:
        raise _unusable("an array whose rows differ in length") from None
    if len(shape) == len(spec.shape) - 1:
        shape = [1, *shape]
    return {"name": spec.name, "shape": shape, "datatype": spec.datatype, "data": array}


def _only_input(settings: Settings, model: str, version: str | None) -> TensorSpec:
    folder = settings.serving.models_dir
    found = {
        one.manifest.version: one.manifest
        for one in models.find(folder).versions
        if one.manifest.name == model
    }
    chosen = found.get(version or models.latest(found) or "")
    if chosen is None:
        asked = f"{model} {version}" if version else model
        raise ConfigurationError(
            f"a bare array needs the manifest of {asked}, and {folder.absolute()} has none "
            '(CHIMERA_SERVING__MODELS_DIR); write {"inputs": [...]} instead'
        )
    if len(chosen.inputs) != 1:
        names = ", ".join(spec.name for spec in chosen.inputs)
        raise ConfigurationError(
            f'{model} has several inputs ({names}): write {{"inputs": [...]}} instead of an array'
        )
    return chosen.inputs[0]


def _require_same(field: str, found: object, wanted: str) -> None:
    if found != wanted:
        raise ConfigurationError(f"the input's {field} is {found!r}, you asked for {wanted!r}")


def _unusable(what: str) -> ConfigurationError:
    return ConfigurationError(
        f'{what} is no request: give {{"inputs": [...]}}, a whole request, or an array'
    )
