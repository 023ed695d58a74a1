"""A segment's tree grown anew from its decisions, and held against every root that was signed on the way."""

import hashlib
from collections.abc import Iterable

from scoreline.audit.report import Report
from scoreline.audit.signed import OfSegment
from scoreline.records.chain import ID_BYTES, Signed
from scoreline.records.merkle import HASH_BYTES, Stump, Tree
from scoreline.records.ranges import Ranges, has, joined, without


class Grown:
    """Takes leaves in about the order of their places; what came too early waits."""

    def __init__(self, where: str, rows: int, stumps: Iterable[Stump], signed: OfSegment, report: Report) -> None:
        self.where = where
        self._signed = signed
        self._rows = rows
        self._stumps: dict[int, Stump] = {}
        self._states = sorted(signed.states, key=lambda state: -state.rows)
        self._waiting: dict[int, bytes] = {}
        self._tree = Tree()
        self._sound = 0
        self._broken = False
        end = 0
        for stump in sorted(stumps):
            end = self._put(stump, end, report)
        self.covered = joined((stump.place, stump.leaves) for stump in self._stumps.values())

    def take(self, place: int, leaf: bytes, report: Report, *, erased: bool) -> bool:
        """A leaf at its place; whether there is room for it. `erased`: the decision says nothing any more."""
        if not 0 <= place < self._rows:
            report.add("inserted", self.where, f"there is a decision at place {place}, beyond its {self._rows}")
        elif place < self._tree.size or place in self._waiting or has(self.covered, place):
            report.add("inserted", self.where, f"place {place} is taken twice")
        else:
            if erased != has(self._signed.erased, place):
                why = "no signature for its erasure" if erased else "it was erased, and is there again"
                report.add("erased" if erased else "inserted", self.where, f"place {place}: {why}")
            self._waiting[place] = leaf
            self._grow(report)
            return True
        return False

    def end(self, report: Report) -> bytes | None:
        """What must have come by now; the root, where the tree is whole."""
        self._grow(report)
        for first, count in self._missing():
            places = f"place {first}" if count == 1 else f"places {first} to {first + count - 1}"
            report.add("removed", self.where, f"{places}: no such decision, and no signature for its removal")
        for first, count in without(self._signed.removed, self.covered):
            report.add("inserted", self.where, f"of what was removed from place {first} on {count} are there again")
        report.removed += sum(count for _, count in self._signed.removed)
        return self._tree.root if self._tree.size == self._rows else None

    def left_out(self) -> Ranges:
        """Places without a decision that no signature took away."""
        return without(self.covered, self._signed.removed)

    def _put(self, stump: Stump, end: int, report: Report) -> int:
        """Takes a stump behind the end of the last one; the end from here on."""
        is_node = stump.leaves > 0 and stump.leaves.bit_count() == 1 and stump.place % stump.leaves == 0
        if stump.place < end or not is_node or len(stump.hash) != HASH_BYTES:
            report.add("inserted", self.where, f"there is a hash at place {stump.place} that stands for nothing")
            return end
        self._stumps[stump.place] = stump
        return stump.place + stump.leaves

    def _grow(self, report: Report) -> None:
        tree, waiting, stumps, states = self._tree, self._waiting, self._stumps, self._states
        while True:
            while states and states[-1].rows <= tree.size:
                self._compare(states.pop(), report)
            if tree.size in waiting:
                tree.extend((waiting.pop(tree.size),))
            elif tree.size in stumps:
                tree.add_stump(stumps[tree.size])
            else:
                return

    def _compare(self, state: Signed, report: Report) -> None:
        if state.rows != self._tree.size:
            return  # it ends within what was removed since, and a later one covers that
        if self._tree.root.hex() == state.root:
            self._sound = state.rows
        elif not self._broken:  # what follows differs with it
            self._broken = True
            places = f"places {self._sound} to {state.rows - 1}" if state.rows else "an empty segment"
            report.add("altered", self.where, f"{places}: a decision is not what was signed, or not in its order")

    def _missing(self) -> Ranges:
        there = [(0, self._tree.size), *((place, 1) for place in self._waiting), *self.covered]
        return without([(0, self._rows)], joined(there))


def has_unsent(bases: bytes, state: Signed) -> bool:
    """Whether these bases begin with those that were signed."""
    return hashlib.sha256(bases[: state.unsent * ID_BYTES]).hexdigest() == state.unsent_hash
