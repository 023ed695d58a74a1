"""Places in a segment as ranges: each a first place and how many, in order and apart from one another once joined."""

from bisect import bisect_right
from collections.abc import Iterable

Ranges = list[tuple[int, int]]


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
    left = iter(others)
    begin, length = next(left, (None, 0))
    for first, count in ranges:
        at, end = first, first + count
        while begin is not None and begin < end:
            if begin > at:
                found.append((at, begin - at))
            at = max(at, begin + length)
            if at > end:
                break  # it goes on in the next range
            begin, length = next(left, (None, 0))
        if at < end:
            found.append((at, end - at))
    return found


def has(ranges: Ranges, place: int) -> bool:
    """Whether a place is in joined ranges."""
    before = bisect_right(ranges, place, key=lambda found: found[0]) - 1
    return before >= 0 and place < sum(ranges[before])
