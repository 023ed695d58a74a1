"""From decisions to the JSON of an answer."""

import json
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Final

import msgspec

from scoreline.core import ids
from scoreline.core.decision import Author, Decisions

_encode: Final = msgspec.json.Encoder().encode  # shortest floats, ten times faster than repr
_SHARED: Final = b"\0"  # stands for what the ids of a request share until it is known; no JSON text holds it


class AnswerWriter:
    """Writes the answers of one version of a model; what never changes is encoded once."""

    def __init__(self, author: Author) -> None:
        self.author = author
        self._names = [json.dumps(name) for name in author.fields]
        self._outcomes = [b',"outcome":' + _json(outcome) for outcome in author.outcomes]
        self._key = b"{%s:" % _json(author.output)
        self._classes = [json.dumps(name) for name in author.classes]
        self._model = b'"model":%s,"version":%s' % (_json(author.model), _json(author.version))
        self._ends = partial(_ends, self._key)  # of a method it would be a cycle, which is never freed
        self._plain_ends = lru_cache(maxsize=8)(self._ends)

    def one(self, decisions: Decisions) -> bytes:
        """A flat object: the output by its name, outcome, prediction_id, defaulted, degraded if so, model, version."""
        scores = decisions.scores
        score = self._classes_json(scores[0].tolist()) if self._classes else repr(scores.item()).encode()
        return b'%s%s%s,"prediction_id":"%s","defaulted":[%s]%s,%s}' % (
            self._key,
            score,
            self._outcomes[decisions.outcomes[0]] if self._outcomes else b"",
            ids.text(decisions.base).encode(),
            self._names_of(decisions.defaulted[0]) if decisions.defaulted else b"",
            b',"degraded":[%s]' % self._names_of(decisions.degraded[0]) if decisions.degraded else b"",
            self._model,
        )

    def many(self, decisions: Decisions) -> bytes:
        """Model and version once, then `predictions` in the order of the request's rows; composed column by column."""
        n_rows = len(decisions)
        shared, _ = ids.texts(decisions.base, n_rows)
        plain = not (decisions.defaulted or decisions.degraded)
        ends = self._plain_ends(n_rows) if plain else self._ends(n_rows, self._flags(decisions))
        width = 3 if self._outcomes else 2
        pieces = [b""] * (width * n_rows)
        pieces[::width] = self._scores(decisions)
        if self._outcomes:
            pieces[1::width] = [self._outcomes[code] for code in decisions.outcomes]
        pieces[width - 1 :: width] = ends
        pieces[0] = b'{%s,"predictions":[%s%s' % (self._model, self._key, pieces[0])
        pieces[-1] = pieces[-1].removesuffix(b"," + self._key) + b"]}"
        return b"".join(pieces).replace(_SHARED, shared.encode())

    def _scores(self, decisions: Decisions) -> list[bytes]:
        if self._classes:
            return [self._classes_json(scores) for scores in decisions.scores.tolist()]
        return _encode(decisions.scores[:, 0].tolist())[1:-1].split(b",")

    def _classes_json(self, scores: list[float]) -> bytes:
        by_name = zip(self._classes, scores, strict=True)
        return f"{{{','.join([f'{name}:{score!r}' for name, score in by_name])}}}".encode()

    def _flags(self, decisions: Decisions) -> list[bytes]:
        """What stands in and behind the list of defaults of each row."""
        defaulted, degraded, rows = decisions.defaulted, decisions.degraded, range(len(decisions))
        names = [self._names_of(defaulted.get(row, ())) for row in rows]
        if degraded:
            lost = ((row, self._names_of(positions)) for row, positions in degraded.items())
            for row, positions in lost:
                names[row] += b'],"degraded":[' + positions
        return names

    def _names_of(self, positions: Sequence[int]) -> bytes:
        return ",".join([self._names[position] for position in positions]).encode()


def _ends(key: bytes, n_rows: int, flags: Sequence[bytes] = ()) -> list[bytes]:
    """What follows score and outcome of each row, up to the score of the next one."""
    before, between = b',"prediction_id":"%s' % _SHARED, b'","defaulted":['
    after = b"]},%s" % key
    _, endings = ids.texts(0, n_rows)
    names = flags or [b""] * n_rows
    columns = zip(endings, names, strict=True)
    return [b"%s%s%s%s%s" % (before, ending.encode(), between, taken, after) for ending, taken in columns]


def _json(text: str) -> bytes:
    return json.dumps(text).encode()
