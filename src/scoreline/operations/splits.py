"""What shadow is told apart by: a field's words, or for numbers the quarters of those that were seen first.

Quarters are taken once, from the first decisions of the comparison, so that whoever begins anew has the same.
"""

from collections.abc import Sequence
from itertools import islice, pairwise
from typing import Final

import numpy as np

from scoreline.core.link import Floats
from scoreline.core.schema import Schema
from scoreline.operations.compared import Split
from scoreline.records.joined import Places
from scoreline.records.walk import Wanted, walk

FIRST: Final = 2000  # decisions that quarters are taken from
MOST_SEGMENTS: Final = 200
NUMBERS: Final = ("number", "integer")


def split_by(schema: Schema, name: str, quarters: Sequence[float] | None = None) -> Split | None:
    """By a field of the champion; None where it has no such field, too many words, or `quarters` that are not known."""
    position = schema.index.get(name, -1)
    if position < 0:
        return None
    found = schema.fields[position]
    if found.type in NUMBERS:
        return None if quarters is None else Split(name, position, tuple(_told(quarters)), tuple(quarters))
    names = ("false", "true") if found.type == "boolean" else tuple(map(str, found.categories))
    return Split(name, position, names) if len(names) <= MOST_SEGMENTS else None


def by_numbers(schema: Schema, name: str) -> bool:
    """Whether a field is told apart by quarters of its numbers."""
    return name in schema.index and schema.fields[schema.index[name]].type in NUMBERS


def quarters_seen(
    places: Places, model: str, champion: str, position: int, from_ns: int, until_ns: int, *, all_there: bool = False
) -> tuple[float, ...] | None:
    """The quarters of a field's numbers in a champion's first decisions; None while there are too few.

    `all_there`: no more will come, so few are enough. Raises DatabaseDown, DatabaseRefused or OSError.
    """
    if places.database is None:
        return None
    wanted = Wanted(model, from_ns=from_ns, until_ns=until_ns)
    found = walk(places.database, places.archive, wanted, newest=False, page_rows=FIRST)
    rows = [row for row, _ in islice((one for one in found if one.author.digest == champion), FIRST)]
    if len(rows) < FIRST and not all_there:
        return None
    return quarters_of(np.array([np.frombuffer(row.values, "<f8", 1, 8 * position)[0] for row in rows]))


def quarters_of(numbers: Floats) -> tuple[float, ...]:
    """The quartiles of numbers, each once; none where there are no numbers."""
    there = numbers[np.isfinite(numbers)]
    return tuple(np.unique(np.quantile(there, (0.25, 0.5, 0.75))).tolist()) if len(there) else ()


def _told(quarters: Sequence[float]) -> list[str]:
    """What lies between them, as people read it; a number that is one of them lies above it."""
    if not quarters:
        return ["any"]
    texts = [f"{each:.4g}" for each in quarters]
    return [f"below {texts[0]}", *(f"{low} to {high}" for low, high in pairwise(texts)), f"{texts[-1]} or more"]
