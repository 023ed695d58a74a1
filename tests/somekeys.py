"""Keys for tests: callers by their keys, as a keyring and as a service reads them."""

from collections.abc import Iterable
from pathlib import Path

from scoreline.access.caller import Caller
from scoreline.access.keyring import Keyring, hash_key
from scoreline.operations.credentials import Credentials, write_credentials


def caller(name: str, *scopes: str, models: Iterable[str] | None = None) -> Caller:
    return Caller(name, frozenset(scopes), None if models is None else frozenset(models))


def hashed(keys: dict[str, Caller]) -> dict[bytes, Caller]:
    return {hash_key(key.encode()): found for key, found in keys.items()}


def ring(keys: dict[str, Caller]) -> Keyring:
    return Keyring(hashed(keys))


def without_keys(state_dir: Path) -> None:
    """As a service begins where nobody ever made a key: open on loopback."""
    write_credentials(state_dir, Credentials())
