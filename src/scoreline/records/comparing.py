"""What must be known of shipped decisions before champion and challenger are compared on them."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Final

from sqlalchemy import Connection, and_, exists, func, or_, select

from scoreline.records.authors import numbers_by_model
from scoreline.records.moved import SHIPPED
from scoreline.records.rollout_tables import SHADOW_OFFSETS
from scoreline.records.tables import DECISIONS, SEGMENTS

_AT_ONCE: Final = 500


def followed(connection: Connection, model: str, ids: Sequence[bytes], within_ns: int) -> set[bytes]:
    """Those of some decisions after which the same entity was decided on again, no more than so long after.

    What happens to the entity from then on belongs to the later one.
    """
    authors = numbers_by_model(connection, model).get(model, [])
    found: set[bytes] = set()
    for some, here, there in product(_pieces(ids), SHIPPED, SHIPPED):
        one, next_ = here.alias(), there.alias()
        later = or_(next_.c.time_ns > one.c.time_ns, and_(next_.c.time_ns == one.c.time_ns, next_.c.id > one.c.id))
        again = exists().where(
            next_.c.entity == one.c.entity,
            next_.c.author.in_(authors),
            next_.c.time_ns.between(one.c.time_ns, one.c.time_ns + within_ns),
            later,
        )
        found.update(connection.scalars(select(one.c.id).where(one.c.id.in_(some), again)))
    return found


def awaited(connection: Connection, numbers: Sequence[int], ids: Sequence[bytes]) -> set[bytes]:
    """Those of some decisions that a challenger, by the numbers of its authors, has begun to come to and not passed.

    Of a segment that it has not begun with nothing is known, and of one in the archive nothing is waited for.
    """
    offset = func.max(SHADOW_OFFSETS.c.offset)
    named = SHADOW_OFFSETS.c.author.in_(numbers)
    of_segment = SHADOW_OFFSETS.c.writer == SEGMENTS.c.writer, SHADOW_OFFSETS.c.number == SEGMENTS.c.number
    behind = select(offset).where(named, *of_segment).correlate(SEGMENTS).scalar_subquery() < SEGMENTS.c.offset
    found: set[bytes] = set()
    for some in _pieces(ids):
        wanted = select(DECISIONS.c.id).join(SEGMENTS, SEGMENTS.c.id == DECISIONS.c.segment)
        found.update(connection.scalars(wanted.where(DECISIONS.c.id.in_(some), behind)))
    return found


def _pieces(ids: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (ids[at : at + _AT_ONCE] for at in range(0, len(ids), _AT_ONCE))
