"""What shipping counts for drift: the champions' own rows, and never one that the feature store has failed."""

import random
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from somereference import some_fold, some_rows

from scoreline.core.link import Floats
from scoreline.drift.counts import unpacked
from scoreline.drift.folding import Folding
from scoreline.drift.state import State
from scoreline.records.pieces import Piece
from scoreline.records.rows import Cells, positions
from somedecisions import author_of

FOLD = some_fold()
DIGEST = FOLD.reference.manifest.digest
CHAMPION, CANARY = 1, 2
AUTHORS = {
    place: author_of("m", 4, digest=DIGEST, role=role) for place, role in ((CHAMPION, "champion"), (CANARY, "canary"))
}


class Connection:
    """Keeps what is put into the inbox."""

    def __init__(self) -> None:
        self.put: list[dict[str, Any]] = []

    def execute(self, _: Any, row: dict[str, Any]) -> None:
        self.put.append(row)


def counted(rows: list[tuple[int, Cells]]) -> Floats | None:
    """What a piece of these rows, each by its author, puts into the inbox."""
    connection: Any = Connection()
    piece = Piece(AUTHORS, 0, [row for _, row in rows], [by for by, _ in rows])
    Folding(lambda _: FOLD).count(connection, piece, "writer", 5)
    if not connection.put:
        return None
    (row,) = connection.put
    assert (row["model"], row["digest"], row["basis"], row["at_ns"]) == ("m", DIGEST, FOLD.reference.basis, 5)
    return unpacked(row["counts"], FOLD.reference.layout.size)


def cells(rng: np.random.Generator, shift: float, degraded: tuple[int, ...] = ()) -> Cells:
    values, scores = some_rows(rng, 1, shift)
    return (b"", 0, b"", "", "", "", values.tobytes(), b"", scores.tobytes(), 0, b"", positions(degraded), 0)


@given(st.integers(0, 1000), st.integers(0, 20), st.integers(0, 20), st.randoms(use_true_random=False))
def test_degraded_rows_and_those_of_canaries_never_add_evidence(
    seed: int, n_own: int, n_others: int, order: random.Random
) -> None:
    rng = np.random.default_rng(seed)
    own = [(CHAMPION, cells(rng, 0.0)) for _ in range(n_own)]
    others = [(CHAMPION, cells(rng, 3.0, (0,))) for _ in range(n_others)]
    others += [(CANARY, cells(rng, 3.0)) for _ in range(n_others)]
    alone, among = counted(own), list(own)
    for other in others:
        among.insert(order.randint(0, len(among)), other)
    found = counted(among)
    if alone is None or found is None:
        assert alone is found is None
        return
    assert (found == alone).all()
    state = State.new(FOLD.reference)
    assert (state.tick(FOLD.reference, found).logs == state.tick(FOLD.reference, alone).logs).all()


def test_what_is_not_known_here_is_not_counted() -> None:
    connection: Any = Connection()
    piece = Piece(AUTHORS, 0, [cells(np.random.default_rng(1), 0.0)], [CHAMPION])
    Folding(lambda _: None).count(connection, piece, "writer", 5)
    assert connection.put == []
