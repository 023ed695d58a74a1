"""Every error has its answer, in one form, and the answer tells nothing it must not."""

import json
from typing import Any

import pytest

from scoreline.core import errors
from scoreline.core.errors import (
    FeaturesMissing,
    Problem,
    RateLimited,
    RecordRefused,
    RowsRefused,
    ScorelineError,
    TooLate,
    Unauthenticated,
)
from scoreline.web.asgi import health, problem, refusal
from scoreline.web.problems import OTHER, kind_of, problem_json, problem_of

SECRET = "/srv/models/secret.ubj holds 4711"


def classes() -> list[type[ScorelineError]]:
    return [found for found in vars(errors).values() if isinstance(found, type) and issubclass(found, ScorelineError)]


def one_of(kind: type[ScorelineError]) -> ScorelineError:
    if kind is RowsRefused:
        return RowsRefused([Problem(0, "amount", "is required")])
    if kind is RecordRefused:
        return RecordRefused(SECRET, 7)
    if kind is FeaturesMissing:
        return FeaturesMissing(["income"], 7)
    if kind is RateLimited:
        return RateLimited(SECRET, 7, "caller")
    return kind(SECRET)


@pytest.mark.parametrize("kind", classes())
def test_every_error_has_one_answer_as_problem_json(kind: type[ScorelineError]) -> None:
    status, headers, body = refusal(one_of(kind))
    found = json.loads(body)
    assert dict(headers)[b"content-type"] == b"application/problem+json"
    assert dict(headers)[b"content-length"] == b"%d" % len(body)
    assert found["status"] == status
    assert 400 <= status <= 599
    assert found["type"].startswith("/errors/")
    assert found["title"] and found["detail"]


@pytest.mark.parametrize("kind", classes())
def test_an_error_of_ours_says_nothing_of_its_inside(kind: type[ScorelineError]) -> None:
    status, _, body = problem_of(one_of(kind))
    if status == 500:
        assert b"secret" not in body and b"4711" not in body


def test_an_error_without_a_line_of_its_own_is_what_its_nearest_parent_is() -> None:
    class Slower(TooLate):
        pass

    assert kind_of(Slower("later")) == kind_of(TooLate("late")) == "deadline"
    assert kind_of(ScorelineError("none of these")) == "internal"


def test_refused_rows_name_row_field_and_problem() -> None:
    _, _, body = problem_of(RowsRefused([Problem(0, "amount", "is required"), Problem(3, "age", "must be an integer")]))
    assert json.loads(body)["errors"] == [
        {"row": 0, "field": "amount", "problem": "is required"},
        {"row": 3, "field": "age", "problem": "must be an integer"},
    ]


def test_headers_say_when_to_come_back_and_how_to_say_who_one_is() -> None:
    assert (b"retry-after", b"7") in problem_of(RecordRefused("full", 7))[1]
    assert (b"www-authenticate", b"Bearer") in problem_of(Unauthenticated("who"))[1]


@pytest.mark.parametrize("status", OTHER)
def test_answers_without_an_error_have_the_same_form(status: int) -> None:
    found: dict[str, Any] = json.loads(problem(status, "title", "detail")[2])
    assert found == {"type": f"/errors/{OTHER[status]}", "title": "title", "status": status, "detail": "detail"}


def test_field_names_of_callers_cannot_break_the_answer() -> None:
    name = 'a"b\\\u2028\ud800'
    body = problem_json(422, "rows-refused", "t", "d", errors=[{"row": 0, "field": name, "problem": "p"}])
    assert json.loads(body)["errors"][0]["field"] == name
    body.decode("ascii")


def test_health_is_200_or_503() -> None:
    assert health(live_only=False, ready=True)[0] == 200
    assert health(live_only=True, ready=False)[0] == 200
    status, headers, body = health(live_only=False, ready=False)
    assert (status, dict(headers)[b"content-type"]) == (503, b"application/problem+json")
    assert json.loads(body)["type"] == "/errors/not-ready"
