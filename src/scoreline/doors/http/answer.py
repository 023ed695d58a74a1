"""From decisions to the JSON of an answer."""

import json
from collections.abc import Sequence
from itertools import repeat
from typing import Final

import msgspec

from scoreline.core import ids
from scoreline.core.decision import Author, Decisions

_encode: Final = msgspec.json.Encoder().encode  # shortest floats, ten times faster than repr


class AnswerWriter:
    """Writes the answers of one version of a model; what never changes is encoded once."""

    def __init__(self, author: Author, store_fields: Sequence[int]) -> None:
        self._names = [json.dumps(name) for name in author.fields]
        self._outcomes = [f'"outcome":{json.dumps(outcome)},' for outcome in author.outcomes]
        self._output = json.dumps(author.output)
        self._classes = [json.dumps(name) for name in author.classes]
        self._model = f'"model":{json.dumps(author.model)},"version":{json.dumps(author.version)}'
        degraded = ",".join(self._names[position] for position in store_fields)
        self._degraded = f',"degraded":[{degraded}]' if store_fields else ""
        self._store = frozenset(store_fields)

    def one(self, decisions: Decisions) -> bytes:
        """A flat object: the output by its name, outcome, prediction_id, model, version, defaulted."""
        score = self._classes_json(decisions.scores[0].tolist()) if self._classes else repr(decisions.scores.item())
        outcome = self._outcomes[decisions.outcomes[0]] if self._outcomes else ""
        defaulted = self._names_of(decisions.defaulted[0]) if decisions.defaulted else ""
        return (
            f'{{{self._output}:{score},{outcome}"prediction_id":"{ids.text(decisions.base)}",'
            f'"defaulted":[{defaulted}]{self._degraded},{self._model}}}'
        ).encode()

    def many(self, decisions: Decisions) -> bytes:
        """Model and version once, then `predictions` in the order of the request's rows; composed column by column."""
        shared, endings = ids.texts(decisions.base, len(decisions))
        head, key, tail = f"{{{self._output}:", f'"prediction_id":"{shared}', f'","defaulted":[]{self._degraded}}}'
        if decisions.defaulted:
            taken = zip(endings, self._defaults(decisions), strict=True)
            endings = [f'{ending}","defaulted":[{names}' for ending, names in taken]
            tail = f"]{self._degraded}}}"
        outcomes = [self._outcomes[code] for code in decisions.outcomes] if self._outcomes else repeat("")
        columns = zip(self._scores(decisions), outcomes, endings, strict=False)
        rows = f"{tail},{head}".join([f"{score},{outcome}{key}{ending}" for score, outcome, ending in columns])
        return f'{{{self._model},"predictions":[{head}{rows}{tail}]}}'.encode()

    def _scores(self, decisions: Decisions) -> list[str]:
        if self._classes:
            return [self._classes_json(scores) for scores in decisions.scores.tolist()]
        return _encode(decisions.scores[:, 0].tolist()).decode()[1:-1].split(",")

    def _classes_json(self, scores: list[float]) -> str:
        return f"{{{','.join([f'{name}:{score!r}' for name, score in zip(self._classes, scores, strict=True)])}}}"

    def _defaults(self, decisions: Decisions) -> list[str]:
        return [self._names_of(decisions.defaulted.get(row, ())) for row in range(len(decisions))]

    def _names_of(self, positions: Sequence[int]) -> str:
        return ",".join([self._names[position] for position in positions if position not in self._store])
