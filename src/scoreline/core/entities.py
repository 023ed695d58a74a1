"""Whom a row is about (a customer, a policy): how a row says it, and the keyed hash it is kept as."""

import hashlib
import re
from typing import Final

MAX_LENGTH: Final = 200
MAX_INTEGER: Final = 2**53
ENTITY_PROBLEM: Final = "must be a text of 1 to 200 characters without controls, or an integer"
PATTERN: Final = r"^[^\u0000-\u001f\u007f]*$"
_TEXT: Final = re.compile(rf"[^\x00-\x1f\x7f\ud800-\udfff]{{1,{MAX_LENGTH}}}")
_HASH_BYTES: Final = 16


def entity_of(value: object) -> str | None:
    """Whom a row is about, as a text; empty where it does not say, None where that is not how one says it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value if _TEXT.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_INTEGER:
        return None
    return str(int(value)) if value == int(value) else None


def entity_hash(entity: str, key: bytes) -> bytes:
    """16 bytes for an entity (BLAKE2b with a key of up to 64 bytes); none for none."""
    return hashlib.blake2b(entity.encode(), digest_size=_HASH_BYTES, key=key).digest() if entity else b""
