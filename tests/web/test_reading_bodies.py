"""Reading a body: whole, never more of it than the limit, and None where the client left."""

import asyncio
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scoreline.core.errors import Denied, TooLarge
from scoreline.web.asgi import read_body

LIMIT = 16


def anyone(headers: Mapping[bytes, bytes]) -> None: ...


def read(
    messages: list[dict[str, Any]], length: int | None = None, admit: Callable[..., object] = anyone
) -> tuple[bytes | None, int]:
    """The body, and how many messages were taken to have it."""
    taken = 0

    async def receive() -> MutableMapping[str, Any]:
        nonlocal taken
        taken += 1
        return messages[taken - 1]

    headers = {} if length is None else {b"content-length": b"%d" % length}
    return asyncio.run(read_body(headers, receive, LIMIT, admit)), taken


def pieces(*parts: bytes) -> list[dict[str, Any]]:
    last = len(parts) - 1
    return [{"type": "http.request", "body": part, "more_body": place < last} for place, part in enumerate(parts)]


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5), st.booleans())
@example([b"x" * 17], False)
@example([b"x" * 16], False)
@example([b"x" * 17, b""], False)
@example([b"x" * 10, b"x" * 7], False)
def test_a_body_within_the_limit_is_whole_and_a_larger_one_refused(parts: list[bytes], with_length: bool) -> None:
    body = b"".join(parts)
    length = len(body) if with_length else None
    if len(body) > LIMIT:
        with pytest.raises(TooLarge, match="at most 16 bytes"):
            read(pieces(*parts), length)
    else:
        assert read(pieces(*parts), length) == (body, len(parts))


def test_a_body_declared_too_large_is_refused_unread() -> None:
    with pytest.raises(TooLarge):
        read([], LIMIT + 1)
    with pytest.raises(TooLarge):
        read([], 10**40)


def test_a_body_without_an_end_is_refused_as_soon_as_it_is_too_large() -> None:
    endless = [{"type": "http.request", "body": b"12345678", "more_body": True}] * 3
    with pytest.raises(TooLarge):
        read(endless)


@pytest.mark.parametrize("before", (0, 1, 2))
def test_a_client_that_leaves_has_no_body(before: int) -> None:
    messages = [{"type": "http.request", "body": b"x", "more_body": True}] * before
    assert read([*messages, {"type": "http.disconnect"}])[0] is None


def test_who_is_not_admitted_is_refused_before_its_body_is_waited_for() -> None:
    def nobody(headers: Mapping[bytes, bytes]) -> None:
        raise Denied("no")

    first_of_many = [{"type": "http.request", "body": b"x", "more_body": True}]
    with pytest.raises(Denied):
        read(first_of_many, admit=nobody)
