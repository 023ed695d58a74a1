"""Decisions in groups of one author, large enough for an engine's bulk, small enough for memory."""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from scoreline.core.decision import Author, Decisions
from scoreline.core.link import Floats
from scoreline.core.manifest import Manifest
from scoreline.core.shown import is_category

GROUP_ROWS: Final = 8192
WAITING_ROWS: Final = 65_536


def by_author(decisions: Iterable[Decisions]) -> Iterator[tuple[Author, list[Decisions]]]:
    """Groups of at least one request and about 8,192 rows; in each the order is that of the record.

    At most some 65,536 rows wait for their group to fill; where there are more, the largest group goes first.
    """
    waiting: dict[Author, list[Decisions]] = {}
    rows: dict[Author, int] = {}
    for found in decisions:
        author = found.author
        waiting.setdefault(author, []).append(found)
        rows[author] = rows.get(author, 0) + len(found)
        full = rows[author] >= GROUP_ROWS
        if full or sum(rows.values()) >= WAITING_ROWS:
            author = author if full else max(rows, key=rows.__getitem__)
            del rows[author]
            yield author, waiting.pop(author)
    yield from waiting.items()


def mismatch(decisions: Decisions, manifest: Manifest) -> str:
    """Why decisions cannot be of this bundle, in words without values; empty where they can."""
    author, schema = decisions.author, manifest.schema
    named = (author.model, author.version, author.output, author.outcomes)
    if named != (manifest.name, manifest.version, manifest.output, manifest.policy.outcomes):
        return "the record names another model, version, output or outcomes than the bundle"
    if author.fields != schema.names or author.classes != manifest.classes:
        return "the record names other fields or classes than the bundle"
    n_rows = len(decisions)
    if decisions.values.shape != (n_rows, len(schema.fields)) or any(
        column.shape != (n_rows, manifest.outputs) for column in (decisions.margins, decisions.scores)
    ):
        return "the record has more or fewer values than the bundle has fields and outputs"
    for position, field in enumerate(schema.fields):
        if field.type == "category" and not all(
            is_category(field, code) for code in decisions.values[:, position].tolist()
        ):
            return f"the record holds a category of {field.name!r} that the bundle does not know"
    return ""


def outcome_of(decisions: Decisions, row: int) -> str | None:
    """The outcome of one row, None where there is none, or none that its author has."""
    codes, names = decisions.outcomes, decisions.author.outcomes
    return names[codes[row]] if row < len(codes) and 0 <= codes[row] < len(names) else None


def stacked(columns: Iterable[Floats]) -> Floats:
    """The rows of several requests, one below the other, in C order."""
    return np.ascontiguousarray(np.concatenate(list(columns)))
