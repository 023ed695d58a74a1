"""Which arm a unit goes to: sticky, nested in the share, and new with each rollout's salt."""

import hashlib
from typing import Final

_SPACE: Final = 2.0**64


def assigned(unit: bytes, salt: bytes, share: float) -> bool:
    """Whether a unit is among the `share` (0 to 1) that a canary answers. `salt` has up to 64 bytes.

    Sticky: the same unit, salt and share always give the same. Nested: who is assigned at a share is so at any larger
    one. Of two salts the answers are independent: nobody is a canary's subject in every rollout.
    """
    drawn = hashlib.blake2b(unit, key=salt, digest_size=8).digest()
    return int.from_bytes(drawn, "big") < share * _SPACE
