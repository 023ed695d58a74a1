"""Decisions of every shape, without a model."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from scoreline.core.batch import Context
from scoreline.core.decision import Author, Decisions
from scoreline.core.ids import ROW_BITS

floats = st.floats(allow_nan=True, allow_infinity=True, width=64)
texts = st.text(max_size=8)


def author_of(model: str = "fraud", n_fields: int = 2, **more: Any) -> Author:
    facts: dict[str, Any] = {"version": "1", "digest": "d" * 64, "engine": "onnxruntime 1", "output": "p"}
    facts |= {"fields": tuple(f"f{place}" for place in range(n_fields)), "classes": (), "outcomes": ()}
    return Author(model=model, **(facts | more))


def decisions_of(author: Author, base: int, n_rows: int = 1, score: float = 0.5, **more: Any) -> Decisions:
    n_outputs = len(author.classes) or 1
    facts: dict[str, Any] = {
        "context": Context(1_700_000_000_000_000_000),
        "values": np.full((n_rows, len(author.fields)), float(base)),
        "margins": np.zeros((n_rows, n_outputs)),
        "scores": np.full((n_rows, n_outputs), score),
        "outcomes": [0] * n_rows if author.outcomes else (),
        "defaulted": {},
        "degraded": {},
        "model_ns": 5000,
    }
    return Decisions(base=base << ROW_BITS, author=author, **(facts | more))


@st.composite
def any_decisions(draw: st.DrawFn) -> Decisions:
    n_rows, n_fields = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    classes = draw(st.sampled_from(((), ("a", "b"), ("x", "y", "ß"))))
    outcomes = draw(st.sampled_from(((), ("approve", "decline"))))
    author = author_of(
        draw(st.text(min_size=1, max_size=5)),
        n_fields,
        classes=classes,
        outcomes=outcomes,
        role=draw(st.sampled_from(("champion", "challenger"))),
        epoch=draw(st.integers(0, 2**40)),
    )

    def column(width: int) -> np.ndarray[Any, Any]:
        flat = draw(st.lists(floats, min_size=n_rows * width, max_size=n_rows * width))
        return np.array(flat, dtype=np.float64).reshape(n_rows, width)

    positions = st.lists(st.integers(0, n_fields - 1), unique=True).map(lambda found: tuple(sorted(found)))
    return Decisions(
        base=draw(st.integers(0, 2**128 - 1)),
        author=author,
        context=Context(draw(st.integers(0, 2**63 - 1)), draw(texts), draw(texts), draw(texts)),
        values=column(n_fields),
        margins=column(len(classes) or 1),
        scores=column(len(classes) or 1),
        outcomes=[draw(st.integers(0, 1)) for _ in range(n_rows)] if outcomes else (),
        defaulted={row: draw(positions) for row in range(n_rows) if draw(st.booleans())},
        degraded={row: draw(positions) for row in range(n_rows) if draw(st.booleans())},
        model_ns=draw(st.integers(0, 2**40)),
        entities=[draw(st.sampled_from((b"", b"e" * 16, b"\0" * 16))) for _ in range(n_rows)]
        if draw(st.booleans())
        else (),
    )


def exactly(decisions: Decisions) -> tuple[Any, ...]:
    """All of some decisions, floats as their bits."""
    columns = [(found.shape, found.tobytes()) for found in (decisions.values, decisions.margins, decisions.scores)]
    defaulted = {row: tuple(positions) for row, positions in decisions.defaulted.items()}
    degraded = {row: tuple(positions) for row, positions in decisions.degraded.items() if len(positions)}
    small = (tuple(decisions.outcomes), decisions.model_ns, tuple(decisions.entities))
    return decisions.base, decisions.author, decisions.context, columns, defaulted, degraded, small
