"""A Merkle tree that only grows: its root after any number of leaves from a state of at most log2(n) hashes.

The tree, its roots and the one-byte prefixes are those of RFC 9162 (section 2.1.1): a leaf is hashed with 0, two
children with 1, and the left child of a node is the largest whole power of two.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

HASH_BYTES: Final = 32
_NODE: Final = b"\1"
EMPTY: Final = hashlib.sha256(b"").digest()


@dataclass(frozen=True, slots=True, order=True)
class Stump:
    """What stands for leaves that are gone: the hash over `leaves` of them, a power of two, from `place` on.

    The place is a multiple of their number, so that they are a node of the tree.
    """

    place: int
    leaves: int
    hash: bytes


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

    def add_stump(self, stump: Stump) -> None:
        """Appends what stands for several leaves; raises ValueError where they do not go on from here."""
        if stump.place != self.size or stump.leaves < 1 or stump.leaves.bit_count() != 1 or self.size % stump.leaves:
            raise ValueError(f"no stump of {stump.leaves} leaves at {stump.place} can follow {self.size} leaves")
        node, rest = stump.hash, self.size // stump.leaves
        while rest & 1:
            node = _parent(self._peaks.pop(), node)
            rest >>= 1
        self._peaks.append(node)
        self.size += stump.leaves

    @property
    def stumps(self) -> list[Stump]:
        """What stands for all its leaves."""
        found, place, size = [], 0, self.size
        for peak in self._peaks:
            leaves = 1 << (size - place).bit_length() - 1
            found.append(Stump(place, leaves, peak))
            place += leaves
        return found

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


def merged(stumps: Iterable[Stump]) -> list[Stump]:
    """The fewest stumps for the same leaves, by place; raises ValueError where two stand for the same leaf."""
    found: list[Stump] = []
    for stump in sorted(stumps):
        if found and found[-1].place + found[-1].leaves > stump.place:
            raise ValueError(f"leaf {stump.place} is gone twice")
        while found and found[-1].leaves == stump.leaves and found[-1].place == stump.place ^ stump.leaves:
            left = found.pop()
            stump = Stump(left.place, 2 * left.leaves, _parent(left.hash, stump.hash))
        found.append(stump)
    return found


def _parent(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()
