"""The private keys that sign here, the public keys that are believed here, and tenants' keys.

A private key is a file of mode 0600, or comes with the settings; a file that others may read is
refused rather than used. Its public half lies beside it as `<file>.pub`. Who may write to a trusted
key may have anything believed, so one that others may write is refused too.
`tests/stores/test_keys.py`.
"""

import os
import secrets
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from chimera.schemas.commitments import KEY_BYTES
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.manifest import is_name
from chimera.schemas.model_settings import KeysSettings
from chimera.schemas.signing import (
    MAX_TEXT,
    PublicKey,
    SigningKey,
    Trusted,
    new_key,
    read_private,
    read_public,
)

MAX_PEM_BYTES = 16 << 10
_SETTING = "CHIMERA_KEYS__SIGNING"
_OTHERS, _OTHERS_WRITE = 0o077, 0o022


def find_signing_key(settings: KeysSettings) -> SigningKey | None:
    """The key that signs models: `find_key` of the settings."""
    return find_key(settings.signing_file, settings.signing, _SETTING)


def find_key(file: Path, secret: SecretStr | None, setting: str) -> SigningKey | None:
    """The private key of a setting or of its file; None: there is neither.

    Raises:
        ConfigurationError: it is no key, or its file is open to others.
    """
    if secret is not None:
        pem = secret.get_secret_value().replace("\\n", "\n")
        return read_private(pem.encode(), setting)
    path = file.expanduser()
    raw = _read(path, MAX_PEM_BYTES, _OTHERS, "a private key")
    return None if raw is None else read_private(raw, str(path))


def signing_key(settings: KeysSettings) -> SigningKey:
    """The private key. Raises ConfigurationError: there is none, or `find_signing_key` refuses it."""
    found = find_signing_key(settings)
    if found is None:
        raise ConfigurationError(
            f"{settings.signing_file}: no key to sign with; make one with `chimera keys init`,"
            f" or set {_SETTING}"
        )
    return found


def trusted(settings: KeysSettings) -> Trusted:
    """Our own public key, if there is one, and all that the settings name.

    Raises:
        ConfigurationError: one is no key, or others may write it.
    """
    own = find_signing_key(settings)
    named = (read_public(text, "CHIMERA_KEYS__TRUSTED") for text in settings.trusted)
    return Trusted([*([own.public] if own else []), *named, *_in_folder(settings.trusted_dir)])


def create(settings: KeysSettings) -> SigningKey:
    """Make the pair that signs models, and write it: `write_key` of the settings."""
    key = new_key()
    write_key(settings.signing_file, key, key.public.text)
    return key


def write_key(file: Path, key: SigningKey, public_text: str) -> None:
    """Write both halves of a new pair, the public one as it says; what is there already stays.

    Raises:
        ConfigurationError: there is a key already, or it cannot be written.
    """
    path = file.expanduser()
    public = path.with_suffix(".pub")
    with _made_once(
        path, "there is a key already; it is never overwritten: move both files away first"
    ):
        if public.exists():
            raise FileExistsError
        _write_new(path, key.pem(), 0o600)
        _write_new(public, f"{public_text}\n".encode(), 0o644)


def create_tenant_key(folder: Path, tenant: str) -> Path:
    """Make the key with which a tenant's rows commit; one that is there already stays.

    Raises:
        ConfigurationError: the tenant has a key, is no name, or the file cannot be written.
    """
    path = tenant_file(folder, tenant)
    with _made_once(
        path, "the tenant has a key; another would let nobody check what it committed to"
    ):
        _write_new(path, secrets.token_bytes(KEY_BYTES), 0o600)
    return path


def destroy_tenant_key(folder: Path, tenant: str) -> Path:
    """Overwrite it and take it away: what it committed to is erased. Copies elsewhere are others'.

    Raises:
        ConfigurationError: the tenant has no key here, or it cannot be removed.
    """
    path = tenant_file(folder, tenant)
    try:
        with path.open("r+b") as file:
            file.write(bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        _sync(path.parent)
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: the tenant has no key here") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be removed: {error.strerror}") from None
    return path


def tenant_file(folder: Path, tenant: str) -> Path:
    """Raises ConfigurationError: that is no name."""
    if not is_name(tenant):
        raise ConfigurationError(f"{tenant!r} is no tenant's name: letters, digits, . _ -")
    return folder.expanduser() / f"{tenant}.key"


def _sync(folder: Path) -> None:
    """What was removed from it stays so."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def _made_once(path: Path, exists: str) -> Generator[None]:
    """Into a folder that is there, and closed to others; what is there already stays."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield
    except FileExistsError:
        raise ConfigurationError(f"{path}: {exists}") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from None


def public_file(settings: KeysSettings) -> Path:
    """Where the public half lies, to be copied to those who verify."""
    return settings.signing_file.expanduser().with_suffix(".pub")


def _in_folder(folder: Path) -> Iterator[PublicKey]:
    for path in sorted(folder.expanduser().glob("*.pub")):
        raw = _read(path, MAX_TEXT, _OTHERS_WRITE, "a trusted key")
        yield read_public((raw or b"").decode("ascii", "replace").strip(), str(path))


def _read(path: Path, limit_bytes: int, forbidden: int, what: str) -> bytes | None:
    """None: there is no such file."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            if mode & forbidden:
                verb = "read" if forbidden == _OTHERS else "write"
                raise ConfigurationError(
                    f"{path}: {what} that others may {verb} (mode {mode:04o}):"
                    f" chmod {'600' if forbidden == _OTHERS else '644'} it, and think about who did"
                )
            return file.read(limit_bytes)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, and never over another. Raises FileExistsError."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # unlike a rename, it fails where there is one
    finally:
        draft.unlink(missing_ok=True)
