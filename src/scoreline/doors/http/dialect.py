"""What a dialect is: how one protocol writes rows, answers and refusals. Endpoint and scorer are the same for all."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from scoreline.core.batch import Batch, Context
from scoreline.core.decision import Decisions
from scoreline.core.errors import Problem, RowsRefused, ScorelineError, WrongType
from scoreline.core.strictjson import Body
from scoreline.web.asgi import Answer, Headers
from scoreline.web.problems import described

JSON: Final = b"application/json"
_SAME_SITE: Final = (b"same-origin", b"none")
_TOLD: Final = 20


class Dialect(Protocol):
    """Reads and writes for one model in one protocol. `asked` is what reading found that writing needs."""

    def check_type(self, headers: Mapping[bytes, bytes], /) -> None:
        """Raises WrongType where the content type is not one of the dialect's."""
        ...

    def read(self, headers: Mapping[bytes, bytes], body: Body, context: Context, /) -> tuple[Batch, Any]:
        """The batch of a request, and what was asked; raises InputError or NotFound."""
        ...

    def write(self, decisions: Decisions, asked: Any, /) -> tuple[Headers, bytes]:
        """The headers and the body of the answer."""
        ...

    @staticmethod
    def refuse(error: ScorelineError, /) -> Answer:
        """The answer to a request that cannot be scored."""
        ...


def mime_type(headers: Mapping[bytes, bytes]) -> bytes:
    return headers.get(b"content-type", b"").split(b";")[0].strip().lower()


def check_json_type(headers: Mapping[bytes, bytes]) -> None:
    """JSON types pass; `curl -d`'s form type and none pass too, but not from another site's page. Raises WrongType."""
    if headers.get(b"content-type") == JSON:
        return
    kind = mime_type(headers)
    if kind == JSON or (kind.startswith(b"application/") and kind.endswith(b"+json")):
        return
    if kind not in (b"", b"application/x-www-form-urlencoded"):
        raise WrongType("send the row as application/json")
    origin = headers.get(b"origin")
    from_page = origin is not None and origin.split(b"://")[-1] != headers.get(b"host")
    if from_page or headers.get(b"sec-fetch-site", b"none") not in _SAME_SITE:
        raise WrongType("a web page of another site must send application/json")


def plain_refusal(error: ScorelineError, word: str, code: Callable[[int], str] | None = None) -> Answer:
    """A refusal as the model servers write it: a JSON object with the reason under `word`, then every problem.

    `code` gives an `error_code` by status, for protocols that have one.
    """
    status, headers, _, detail = described(error)
    body: dict[str, Any] = {word: detail} | ({"error_code": code(status)} if code else {})
    if isinstance(error, RowsRefused):
        told = [f"{_place(found)}: {found.problem}" for found in error.problems[:_TOLD]]
        more = "" if len(error.problems) <= _TOLD else f"; and {len(error.problems) - _TOLD} more, see errors"
        body[word] = "; ".join(told) + more
        body["errors"] = error.to_json()
    raw = json.dumps(body).encode()
    return status, [(b"content-type", JSON), (b"content-length", b"%d" % len(raw)), *headers], raw


def _place(found: Problem) -> str:
    return f"row {found.row}, field {found.field!r}" if found.field else f"row {found.row}"
