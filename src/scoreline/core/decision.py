"""A decision: one row's answer and all that is needed to compute it again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from scoreline.core import ids
from scoreline.core.batch import Context
from scoreline.core.link import Floats


@dataclass(frozen=True, slots=True)
class Author:
    """Which model answered, and in which role: the same for all decisions of a scorer.

    `digest` is the bundle's identity, `engine` names engine and library version, `epoch` is the seq of the ledger.
    """

    model: str
    version: str
    digest: str
    engine: str
    fields: tuple[str, ...]
    output: str
    classes: tuple[str, ...]
    outcomes: tuple[str, ...]
    role: str = "champion"
    epoch: int = 0


@lru_cache(maxsize=16)
def same_author(author: Author) -> Author:
    """One object for equal authors: a version that answers again is named in the record once, and kept once."""
    return author


def author_from(facts: Mapping[str, Any]) -> Author:
    """The author with these facts, as `dataclasses.asdict` gave them and JSON or msgpack kept them."""
    given: dict[str, Any] = {name: tuple(found) if isinstance(found, list) else found for name, found in facts.items()}
    return same_author(Author(**given))


@dataclass(frozen=True, slots=True)
class Decision:
    """One row's answer: a view into `Decisions`. `features` are as used, after defaults."""

    id: str
    author: Author
    context: Context
    features: Mapping[str, float]
    margins: tuple[float, ...]
    scores: tuple[float, ...]
    outcome: str | None
    defaulted: tuple[str, ...]
    degraded: tuple[str, ...]
    entity: bytes = b""


@dataclass(slots=True)
class Decisions:
    """The decisions of one batch, in columns; row i of every column is decision i.

    `values` float64 (n_rows, n_fields) as used; `margins` and `scores` float64 (n_rows, n_outputs);
    `outcomes` positions in `author.outcomes`, or empty; `model_ns` the engine's time; `entities` whom each row is
    about, as a keyed hash of 16 bytes (empty: not told), or nothing for all rows. Of the request, in nanoseconds:
    `wait_ns` until it was taken up, `auth_ns` to see who asks, `features_ns` to look features up, `total_ns` from its
    arrival to its answer; 0 where no door said. `written_ns` is when it went to the record, since 1970; 0: not yet.
    """

    base: int
    author: Author
    context: Context
    values: Floats
    margins: Floats
    scores: Floats
    outcomes: Sequence[int]
    defaulted: Mapping[int, Sequence[int]]
    degraded: Mapping[int, Sequence[int]]
    model_ns: int
    entities: Sequence[bytes] = ()
    wait_ns: int = 0
    auth_ns: int = 0
    features_ns: int = 0
    total_ns: int = 0
    written_ns: int = 0

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: int) -> Decision:
        if not 0 <= row < len(self):
            raise IndexError(row)
        author = self.author
        names = author.fields
        return Decision(
            id=ids.text(self.base | row),
            author=author,
            context=self.context,
            features=dict(zip(names, self.values[row].tolist(), strict=True)),
            margins=tuple(self.margins[row].tolist()),
            scores=tuple(self.scores[row].tolist()),
            outcome=author.outcomes[self.outcomes[row]] if self.outcomes else None,
            defaulted=tuple(names[i] for i in self.defaulted.get(row, ())),
            degraded=tuple(names[i] for i in self.degraded.get(row, ())),
            entity=self.entities[row] if self.entities else b"",
        )

    def __iter__(self) -> Iterator[Decision]:
        return (self[row] for row in range(len(self)))
