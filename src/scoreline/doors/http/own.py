"""Scoreline's own dialect: a flat object is one row, an array of objects is many; refusals are problem+json."""

from collections.abc import Mapping

from scoreline.core.batch import Batch, Context
from scoreline.core.decision import Decisions
from scoreline.core.errors import ScorelineError
from scoreline.core.schema import Schema
from scoreline.core.strictjson import Body
from scoreline.doors.http.answer import AnswerWriter
from scoreline.doors.http.decode import RowReader
from scoreline.doors.http.dialect import JSON, check_json_type
from scoreline.web.asgi import Answer, Headers, refusal


class OwnDialect:
    """`POST /predict` and `/models/{name}/predict`. A `dialect.Dialect`."""

    def __init__(self, schema: Schema, max_rows: int) -> None:
        self._reader = RowReader(schema, max_rows)
        self._writer: AnswerWriter | None = None
        self._writers: dict[int, AnswerWriter] = {}

    def check_type(self, headers: Mapping[bytes, bytes]) -> None:
        check_json_type(headers)

    def read(self, _: Mapping[bytes, bytes], body: Body, context: Context) -> tuple[Batch, bool]:
        """The batch, and whether the body was an array; raises Malformed, TooLarge or RowsRefused."""
        return self._reader.read(body, context)

    def write(self, decisions: Decisions, asked: bool) -> tuple[Headers, bytes]:
        writer = self._writer
        if writer is None or writer.author is not decisions.author:
            writer = self._writer = self._writer_of(decisions)
        return [(b"content-type", JSON)], writer.many(decisions) if asked else writer.one(decisions)

    @staticmethod
    def refuse(error: ScorelineError) -> Answer:
        return refusal(error)

    def _writer_of(self, decisions: Decisions) -> AnswerWriter:
        """The one of the version and role that decided; each keeps its author, so that no other one has its id."""
        author = decisions.author
        writer = self._writers.get(id(author))
        if writer is None:
            writer = self._writers[id(author)] = AnswerWriter(author)
        return writer
