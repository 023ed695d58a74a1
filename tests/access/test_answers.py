"""Places that keep answers under idempotency keys: what both must do, and what each does alone."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redis_server import RedisServer
from scoreline.access import answers_redis
from scoreline.access.answers import KEEP_S, Answers, Kept
from scoreline.access.answers_redis import RedisAnswers
from scoreline.access.answers_sqlite import FILE, LOCKS, SqliteAnswers
from scoreline.core.errors import IdempotencyBusy, IdempotencyDown, IdempotencyMismatch
from service import wait_until

KEY, OTHER = b"k" * 32, b"o" * 32
ASKED, ANOTHER = b"r" * 32, b"s" * 32
FREE = "free"
_fork = multiprocessing.get_context("fork")


@pytest.fixture(params=("sqlite", "redis"))
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Answers]:
    """Opens the same place once more, as another process would."""
    if request.param == "sqlite":
        return lambda: SqliteAnswers(tmp_path, 1 << 24)
    redis: RedisServer = request.getfixturevalue("redis")
    return lambda: RedisAnswers(redis.url, 1000)


def claimed(place: Answers) -> Kept | str | None:
    """What is kept, FREE where nothing is; None where it has to be asked again."""
    try:
        return place.claim(KEY, ASKED) or FREE
    except (IdempotencyBusy, IdempotencyDown):
        return None


def in_another_process(do: Callable[[], object]) -> str:
    """What came of it there: the name of an error, or what it returned."""
    receive, send = _fork.Pipe(duplex=False)

    def run() -> None:
        try:
            send.send(str(do()))
        except Exception as error:
            send.send(type(error).__name__)

    process = _fork.Process(target=run)
    process.start()
    found: str = receive.recv()
    process.join()
    return found


@pytest.mark.parametrize("answer", (b"{}", b"\0\xff" * 400_000))
def test_what_is_done_is_given_again_to_the_same_request_and_to_no_other(
    opening: Callable[[], Answers], answer: bytes
) -> None:
    first = opening()
    assert first.claim(KEY, ASKED) is None
    first.prepare(KEY, ASKED, Kept(answer, b"frames"))
    first.done(KEY)
    for place in (first, opening()):
        assert place.claim(KEY, ASKED) == Kept(answer, b"")
        with pytest.raises(IdempotencyMismatch, match="use a new one"):
            place.claim(KEY, ANOTHER)
    assert first.claim(OTHER, ANOTHER) is None, "another key is another's"


def test_while_one_is_at_it_others_are_told_so_whoever_they_are(opening: Callable[[], Answers]) -> None:
    first = opening()
    assert first.claim(KEY, ASKED) is None
    with pytest.raises(IdempotencyBusy) as refused:
        first.claim(KEY, ASKED)
    assert refused.value.retry_after_s == 1
    assert in_another_process(lambda: opening().claim(KEY, ASKED)) == "IdempotencyBusy"
    assert in_another_process(lambda: opening().claim(OTHER, ASKED)) == "None"


def test_a_request_that_was_refused_leaves_its_key_free(opening: Callable[[], Answers]) -> None:
    first = opening()
    assert first.claim(KEY, ASKED) is None
    first.drop(KEY)
    assert first.claim(KEY, ANOTHER) is None
    first.prepare(KEY, ANOTHER, Kept(b"a", b"f"))
    first.drop(KEY)
    assert opening().claim(KEY, ASKED) is None


def test_frames_of_one_that_died_are_given_until_somebody_has_recorded_them(opening: Callable[[], Answers]) -> None:
    def die() -> None:
        place = opening()
        assert place.claim(KEY, ASKED) is None
        place.prepare(KEY, ASKED, Kept(b"answer", b"frames"))
        os.kill(os.getpid(), signal.SIGKILL)

    process = _fork.Process(target=die)
    process.start()
    process.join()
    for last in (False, True):
        place = opening()
        assert wait_until(lambda to=place: claimed(to), "its owner is known to be dead") == Kept(b"answer", b"frames")
        assert in_another_process(lambda: opening().claim(KEY, ASKED)) == "IdempotencyBusy"
        place.done(KEY) if last else place.leave(KEY)  # the first of them could not record them either
    assert opening().claim(KEY, ASKED) == Kept(b"answer", b"")


def test_on_a_host_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    def die() -> None:
        SqliteAnswers(tmp_path, 1 << 24).claim(KEY, ASKED)
        os.kill(os.getpid(), signal.SIGKILL)

    process = _fork.Process(target=die)
    process.start()
    process.join()
    assert SqliteAnswers(tmp_path, 1 << 24).claim(KEY, ANOTHER) is None


def test_on_a_host_answers_go_after_a_day_and_the_file_is_its_owners(tmp_path: Path) -> None:
    now = [1000.0]
    place = SqliteAnswers(tmp_path, 1 << 20, lambda: now[0])
    claimed = 0
    with pytest.raises(IdempotencyDown, match=r"limits\.keys_max_bytes are full"):
        while claimed < 10_000:
            key = claimed.to_bytes(32, "big")
            assert place.claim(key, ASKED) is None
            place.prepare(key, ASKED, Kept(b"a" * 1000, b""))
            place.done(key)
            claimed += 1
    assert 500 < claimed < 1100
    assert (tmp_path / FILE).stat().st_size <= 1 << 20
    now[0] += KEEP_S - 1
    assert place.claim(bytes(32), ASKED) == Kept(b"a" * 1000, b""), "nothing goes before its day is over"
    now[0] += 2
    for _ in range(3):  # what is old goes in pieces
        now[0] += 2
        assert place.claim(bytes(32), ASKED) is None
        place.drop(bytes(32))
    place.claim(OTHER, ASKED)
    place.prepare(OTHER, ASKED, Kept(b"a" * 500_000, b""))
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in (FILE, LOCKS)} == {0o600}


def test_a_file_that_is_no_database_refuses_and_does_not_raise_otherwise(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database " * 1000)
    with pytest.raises(IdempotencyDown, match="file is not a database"):
        SqliteAnswers(tmp_path, 1 << 24).claim(KEY, ASKED)


def test_a_place_that_cannot_be_opened_costs_nothing_and_names_no_folder(tmp_path: Path) -> None:
    """Its refusal is told to whoever asked, and each of them tries to open it."""
    (tmp_path / FILE).write_bytes(b"no database " * 1000)
    place = SqliteAnswers(tmp_path, 1 << 24)
    with pytest.raises(IdempotencyDown) as refused:
        place.claim(KEY, ASKED)
    before = n_open()
    for _ in range(20):
        assert claimed(place) is None
    assert n_open() <= before
    assert str(tmp_path) not in str(refused.value)


def n_open() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_in_redis_a_claim_of_one_that_died_ends_by_itself_and_who_lost_it_keeps_nothing(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = RedisAnswers(redis.url, 1000), RedisAnswers(redis.url, 1000)
    monkeypatch.setattr(answers_redis, "CLAIM_MS", 1)
    assert first.claim(KEY, ASKED) is None
    monkeypatch.undo()

    wait_until(lambda: claimed(second) == FREE, "the claim has ended")
    with pytest.raises(IdempotencyBusy):
        first.prepare(KEY, ASKED, Kept(b"mine", b"f"))
    first.drop(KEY)
    second.prepare(KEY, ASKED, Kept(b"answer", b"f"))
    second.done(KEY)
    assert first.claim(KEY, ASKED) == Kept(b"answer", b"")
    client: Any = second._client
    (name,) = client.keys()
    assert 0 < client.ttl(name) <= KEEP_S


def test_a_redis_that_is_away_refuses_at_once_and_is_found_again(redis: RedisServer) -> None:
    place = RedisAnswers(redis.url, 1000)
    redis.kill()
    for _ in range(3):
        with pytest.raises(IdempotencyDown):
            place.claim(KEY, ASKED)
    redis.start()

    wait_until(lambda: claimed(place) == FREE, "it is asked again")
