"""A segment's tree grown anew from its decisions, and held against every root that was signed on the way."""

from collections.abc import Iterable

from scoreline.audit.report import Report
from scoreline.audit.signed import OfSegment
from scoreline.records.chain import Ranges, Signed
from scoreline.records.merkle import Stump, Tree


class Grown:
    """Takes leaves in about the order of their places; what came too early waits."""

    def __init__(self, where: str, rows: int, stumps: Iterable[Stump], signed: OfSegment) -> None:
        self.where = where
        self.signed = signed
        self._rows = rows
        self._stumps = {stump.place: stump for stump in stumps}
        self._roots: dict[int, Signed] = {state.rows: state for state in signed.states}
        self._waiting: dict[int, bytes] = {}
        self._tree = Tree()
        self._sound = 0
        self._broken = False
        self._covered = joined((stump.place, stump.leaves) for stump in self._stumps.values())

    def take(self, place: int, leaf: bytes, report: Report) -> bool:
        """A leaf at its place; whether there is room for it."""
        if not 0 <= place < self._rows:
            report.add("inserted", self.where, f"there is a decision at place {place}, beyond its {self._rows}")
        elif place < self._tree.size or place in self._waiting or self._is_gone(place):
            report.add("inserted", self.where, f"place {place} is taken twice")
        else:
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
        there, by_right = self._covered, joined(self.signed.removed)
        for first, _ in by_right:
            if not any(begin <= first < begin + count for begin, count in there):
                report.add("inserted", self.where, f"what was removed from place {first} on is there again")
        report.removed += sum(count for _, count in by_right)
        return self._tree.root if self._tree.size == self._rows else None

    def left_out(self) -> Ranges:
        """Places without a decision that no signature took away."""
        return without(self._covered, joined(self.signed.removed))

    def _grow(self, report: Report) -> None:
        tree, waiting, stumps, roots = self._tree, self._waiting, self._stumps, self._roots
        while True:
            state = roots.pop(tree.size, None) if roots else None
            if state is not None:
                self._compare(state, report)
            if tree.size in waiting:
                tree.extend((waiting.pop(tree.size),))
            elif tree.size in stumps:
                try:
                    tree.add_stump(stumps.pop(tree.size))
                except ValueError as error:
                    report.add("altered", self.where, str(error))
                    return
            else:
                return

    def _compare(self, state: Signed, report: Report) -> None:
        if self._tree.root.hex() == state.root:
            self._sound = state.rows
        elif not self._broken:  # what follows differs with it
            self._broken = True
            places = f"places {self._sound} to {state.rows - 1}" if state.rows else "an empty segment"
            report.add(
                "altered", self.where, f"{places}: one or more decisions are not what was signed, or not in order"
            )

    def _is_gone(self, place: int) -> bool:
        return any(first <= place < first + count for first, count in self._covered)

    def _missing(self) -> Ranges:
        there = [(0, self._tree.size), *((place, 1) for place in self._waiting), *self._covered]
        return without([(0, self._rows)], joined(there))


def joined(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same places in the fewest ranges, in order."""
    found: Ranges = []
    for first, count in sorted(ranges):
        if found and first <= sum(found[-1]):
            found[-1] = found[-1][0], max(sum(found[-1]), first + count) - found[-1][0]
        elif count:
            found.append((first, count))
    return found


def without(ranges: Ranges, others: Ranges) -> Ranges:
    """The places of the one and not the other; both joined."""
    found: Ranges = []
    for first, count in ranges:
        at, end = first, first + count
        for begin, length in others:
            if begin + length <= at or begin >= end:
                continue
            if begin > at:
                found.append((at, begin - at))
            at = begin + length
        if at < end:
            found.append((at, end - at))
    return found
