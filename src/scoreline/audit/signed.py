"""What was signed: the chain read from its first link, and what it says of every segment."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from scoreline.audit.report import Report
from scoreline.core.errors import SignatureRefused
from scoreline.records.chain import ERASURE, EXPORT, GENESIS, KIND, Checkpoint, Signed, Taken, hash_of
from scoreline.records.ranges import Ranges, joined, without
from scoreline.signing import TrustStore

Name = tuple[str, int]  # writer and number of a segment
Link = tuple[int, str, bytes]  # number, body, signature


@dataclass(slots=True)
class OfSegment:
    """What the chain says of a segment: its states in order, the places that were erased, and those taken away."""

    states: list[Signed] = field(default_factory=list)
    erased: Ranges = field(default_factory=list)
    removed: Ranges = field(default_factory=list)


def read_chain(links: Iterable[Link], trust: TrustStore, report: Report, expected: str = "") -> dict[Name, OfSegment]:
    """What is signed of every segment; whatever is wrong with the chain itself goes to the report.

    `expected` is `NUMBER:HASH` of a link as someone noted it elsewhere: the chain must have it.
    """
    found: dict[Name, OfSegment] = {}
    previous, seq, noted = GENESIS, 0, not expected
    for number, body, signature in links:
        seq, report.export = seq + 1, None  # only the last link can make it an export
        where = f"checkpoint {number}"
        link = _link(where, body, signature, trust, report)
        if number != seq or (link and link.seq != number):
            report.add("chain", where, f"checkpoint {seq} should come here: one is missing, or was put in")
            seq = number if isinstance(number, int) else seq
        if link:
            if link.previous != previous:
                report.add("chain", where, "it does not follow the one before: one was altered, removed or put in")
            _take(link, found, report)
            report.signed_ns = link.at_ns
        previous = hash_of(body) if isinstance(body, str) else GENESIS
        noted = noted or f"{number}:{previous}" == expected.lower()
        report.checkpoints += 1
        if report.export is None:  # the link of an export is in no other chain
            report.head = f"{number}:{previous}"
    if not noted:
        report.add("chain", "the chain", "it does not have the checkpoint that was noted: it was cut, or made anew")
    return found


def _link(where: str, body: str, signature: bytes, trust: TrustStore, report: Report) -> Checkpoint | None:
    try:
        link = Checkpoint.from_body(body)
        trust.vouches(link.key, KIND, body.encode(), signature)
    except (ValueError, TypeError):
        report.add("chain", where, "it cannot be read")
        return None
    except SignatureRefused as refused:
        report.add("chain", where, str(refused))
        return None
    return link


def _take(link: Checkpoint, found: dict[Name, OfSegment], report: Report) -> None:
    for state in link.segments:
        states = found.setdefault((state.writer, state.number), OfSegment()).states
        if states and not _may_follow(state, states[-1]):
            where = f"segment {state.writer}-{state.number}"
            report.add("altered", where, f"checkpoint {link.seq} signs it otherwise than an earlier one did")
        states.append(state)
    if link.act is None:
        return
    if link.act.kind == EXPORT:
        report.export = link.act.facts
    for taken in link.act.taken:
        segment = found.setdefault((taken.writer, taken.number), OfSegment())
        if link.act.kind == ERASURE:
            segment.erased = joined([*segment.erased, *taken.ranges])
        else:
            _check_erased(taken, segment, link, report)
            segment.removed = joined([*segment.removed, *taken.ranges])


def _may_follow(state: Signed, last: Signed) -> bool:
    """A segment only grows until it ends: what was signed of it stays so."""
    if last.final or state.rows == last.rows:
        same = (state.rows, state.root) == (last.rows, last.root)
        return same and (state == last if last.final else _grows(state, last))
    return state.rows > last.rows and _grows(state, last)


def _grows(state: Signed, last: Signed) -> bool:
    pairs = ((state.missed, last.missed), (state.repeated, last.repeated), (state.unsent, last.unsent))
    return all(now >= before for now, before in pairs)


def _check_erased(taken: Taken, segment: OfSegment, link: Checkpoint, report: Report) -> None:
    """What left without saying anything must have been erased by right before."""
    for first, _ in without(joined(taken.erased), segment.erased):
        where = f"segment {taken.writer}-{taken.number}"
        report.add("erased", where, f"checkpoint {link.seq} removed place {first}, empty without a signature for it")
