"""A Merkle tree that only grows: its root after any number of leaves from a state of at most log2(n) hashes.

The tree, its roots and the one-byte prefixes are those of RFC 9162 (section 2.1.1): a leaf is hashed with 0, two
children with 1, and the left child of a node is the largest whole power of two.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

HASH_BYTES: Final = 32
_NODE: Final = b"\1"
EMPTY: Final = hashlib.sha256(b"").digest()


class Tree:
    """Appends leaf hashes; `state` is what another process needs to go on, `size` how many there are."""

    def __init__(self, size: int = 0, state: bytes = b"") -> None:
        self.size = size
        self._peaks = [state[start : start + HASH_BYTES] for start in range(0, len(state), HASH_BYTES)]
        if len(self._peaks) != size.bit_count() or len(state) % HASH_BYTES:
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} peaks of {HASH_BYTES} bytes")

    def extend(self, leaves: Iterable[bytes]) -> None:
        peaks, size = self._peaks, self.size
        for node in leaves:
            rest = size
            while rest & 1:
                node = _parent(peaks.pop(), node)
                rest >>= 1
            peaks.append(node)
            size += 1
        self.size = size

    @property
    def state(self) -> bytes:
        return b"".join(self._peaks)

    @property
    def root(self) -> bytes:
        """The root over all leaves so far; of an empty tree the hash of nothing."""
        if not self._peaks:
            return EMPTY
        *rest, node = self._peaks
        for peak in reversed(rest):
            node = _parent(peak, node)
        return node


def _parent(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()
