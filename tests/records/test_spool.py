"""The spool keeps every decision once and in order, whatever its writer, its reader or its disk go through."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.core.batch import NO_DEFAULTS, Batch, Context
from scoreline.core.decision import Decisions
from scoreline.core.errors import RecordRefused
from scoreline.records.frames import MAGIC
from scoreline.records.segments import BEGIN, READ_BYTES, read_items, read_raw, segment_name, segments
from scoreline.records.spool import SpoolReader, read_spool, recorded
from scoreline.records.writer import SpoolWriter
from somedecisions import any_decisions, author_of, decisions_of, exactly

SEGMENT = 1 << 20


class Tail:
    """A reader and all it has handed on."""

    def __init__(self, folder: Path) -> None:
        self.reader = SpoolReader(folder)
        self.found: list[Decisions] = []

    def read(self) -> list[int]:
        """The first ids of what is new."""
        before = len(self.found)
        n_rows = self.reader.read(self.found.append)
        new = self.found[before:]
        assert n_rows == sum(map(len, new))
        return [decisions.base >> 20 for decisions in new]


def bases(folder: Path) -> list[int]:
    return [decisions.base >> 20 for decisions in read_spool(folder)]


@settings(max_examples=50)
@given(st.lists(any_decisions(), min_size=1, max_size=6), st.integers(4096, 8192))
def test_what_is_written_is_read_back_bit_for_bit(many: list[Decisions], segment_bytes: int) -> None:
    with TemporaryDirectory() as folder:
        writer = SpoolWriter(Path(folder), segment_bytes)
        for decisions in many:
            writer.write(decisions)
        assert [exactly(found) for found in read_spool(Path(folder))] == [exactly(decisions) for decisions in many]
        writer.close()


def test_a_segment_that_is_full_is_followed_by_the_next(tmp_path: Path) -> None:
    writer, author = SpoolWriter(tmp_path, 4096), author_of(n_fields=20)
    tail, followed = Tail(tmp_path), []
    for base in range(200):
        writer.write(decisions_of(author, base))
        followed += tail.read()
    writer.close()
    found = segments(tmp_path)
    assert len(found) > 5
    assert all(segment.path.stat().st_size < 4096 + 1000 for segment in found)
    assert all(segment.path.read_bytes().startswith(MAGIC) for segment in found)
    assert bases(tmp_path) == followed == list(range(200))


def test_segments_of_a_writer_are_numbered_without_a_gap_and_final_once_it_goes_on(tmp_path: Path) -> None:
    writer, author = SpoolWriter(tmp_path, 4096), author_of(n_fields=20)
    for base in range(50):
        writer.write(decisions_of(author, base))
    found = segments(tmp_path)
    assert [segment.number for segment in found] == list(range(len(found)))
    assert len({segment.writer for segment in found}) == 1
    assert [segment.is_final for segment in found] == [True] * (len(found) - 1) + [False]
    writer.close()
    assert found[-1].is_final


def test_two_models_share_a_spool(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, 4096)
    authors = [author_of("fraud", 3, outcomes=("approve", "decline")), author_of("churn", 7, classes=("a", "b"))]
    for base in range(100):
        writer.write(decisions_of(authors[base % 2], base))
    found = list(read_spool(tmp_path))
    assert len(segments(tmp_path)) > 1
    assert [decisions.author for decisions in found] == authors * 50
    assert [decisions.values.shape[1] for decisions in found] == [3, 7] * 50
    writer.close()


def test_two_writers_never_share_a_segment(tmp_path: Path) -> None:
    first, second, author = SpoolWriter(tmp_path, SEGMENT), SpoolWriter(tmp_path, SEGMENT), author_of()
    for base in range(10):
        (first if base % 3 else second).write(decisions_of(author, base))
    assert len(segments(tmp_path)) == 2
    assert sorted(bases(tmp_path)) == list(range(10))


def test_a_reader_hands_on_each_decision_once_and_knows_its_lag(tmp_path: Path) -> None:
    writer, author, tail = SpoolWriter(tmp_path, SEGMENT), author_of(), Tail(tmp_path)
    assert tail.read() == []
    for base in range(5):
        writer.write(decisions_of(author, base, n_rows=base + 1))
    assert tail.reader.lag_bytes == segments(tmp_path)[0].path.stat().st_size - len(MAGIC)
    assert tail.read() == [0, 1, 2, 3, 4]
    assert tail.reader.lag_bytes == 0
    assert tail.read() == []
    writer.write(decisions_of(author, 5))
    assert tail.read() == [5]


def test_a_reader_that_meets_half_a_frame_takes_it_when_it_is_whole(tmp_path: Path) -> None:
    writer, author = SpoolWriter(tmp_path / "whole", SEGMENT), author_of()
    for base in range(3):
        writer.write(decisions_of(author, base))
    raw = segments(tmp_path / "whole")[0].path.read_bytes()
    spool = tmp_path / "growing"
    spool.mkdir()
    tail, found = Tail(spool), []
    for size in range(len(raw) + 1):
        (spool / segment_name("0" * 24, 0)).write_bytes(raw[:size])
        found += tail.read()
    assert found == [0, 1, 2]
    assert tail.reader.lag_bytes == 0


def test_a_torn_tail_hides_nothing_of_other_segments(tmp_path: Path) -> None:
    author = author_of()
    for first in (0, 10):
        writer = SpoolWriter(tmp_path, SEGMENT)
        for base in range(first, first + 3):
            writer.write(decisions_of(author, base))
        writer.close()
    torn, _ = segments(tmp_path)
    torn.path.write_bytes(torn.path.read_bytes()[:-1])
    assert bases(tmp_path) == Tail(tmp_path).read() == [0, 1, 10, 11, 12]


@pytest.mark.parametrize("n_rows", (5000, 60_000))
def test_frames_larger_than_one_read_are_read(tmp_path: Path, n_rows: int) -> None:
    writer, author = SpoolWriter(tmp_path, 1 << 30), author_of(n_fields=20)
    for base in range(3):
        writer.write(decisions_of(author, base, n_rows=n_rows))
    (segment,) = segments(tmp_path)
    assert (segment.path.stat().st_size > 3 * READ_BYTES) == (n_rows == 60_000)
    tail, found = Tail(tmp_path), []
    for _ in range(20):
        found += tail.read()
    assert found == [0, 1, 2]
    assert bases(tmp_path) == [0, 1, 2]


def test_a_frame_larger_than_one_read_is_read_without_what_is_behind_it(tmp_path: Path) -> None:
    writer, author = SpoolWriter(tmp_path, 1 << 30), author_of(n_fields=20)
    for base in range(3):
        writer.write(decisions_of(author, base, n_rows=20_000))
    (segment,) = segments(tmp_path)
    offset = read_items(segment.path, BEGIN, authors := {})[1]  # the author
    one = read_raw(segment.path, offset)
    assert len(one) > READ_BYTES
    assert offset + 3 * len(one) == segment.path.stat().st_size
    assert len(authors) == 1


def test_the_death_of_a_writer_loses_nothing_it_has_written(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from somedecisions import *;"
        "from scoreline.records.writer import SpoolWriter; w = SpoolWriter(Path(sys.argv[1]), 1 << 20);"
        "a = author_of(); [w.write(decisions_of(a, base)) for base in range(50)]; os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=Path(__file__).parents[1], timeout=60)
    assert ended.returncode == -9
    assert bases(tmp_path) == list(range(50))
    assert segments(tmp_path)[0].is_final


@pytest.fixture
def file_limit() -> Iterator[None]:
    """Puts back how large this process's files may grow."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def allow(n_bytes: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes if n_bytes >= 0 else hard, hard))


def test_a_disk_that_fills_at_any_byte_refuses_the_decision_and_spoils_none(tmp_path: Path, file_limit: None) -> None:
    author = author_of(outcomes=("approve", "decline"))
    SpoolWriter(tmp_path / "probe", SEGMENT).write(decisions_of(author, 0))
    size = segments(tmp_path / "probe")[0].path.stat().st_size
    for room in range(size + 1):
        folder = tmp_path / str(room)
        writer = SpoolWriter(folder, SEGMENT)
        allow(room)
        try:
            if room < size:
                with pytest.raises(RecordRefused) as caught:
                    writer.write(decisions_of(author, 1))
                assert caught.value.retry_after_s == 5
            else:
                writer.write(decisions_of(author, 1))
        finally:
            allow(-1)
        writer.write(decisions_of(author, 2))
        writer.write(decisions_of(author, 3))
        writer.close()
        assert bases(folder) == Tail(folder).read() == ([2, 3] if room < size else [1, 2, 3])


def test_a_disk_full_as_a_segment_begins_is_refused_and_later_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, author, real_open = SpoolWriter(tmp_path, SEGMENT), author_of(), os.open
    with monkeypatch.context() as full:
        full.setattr(os, "open", lambda path, flags, mode=0o777: real_open("/dev/full", os.O_WRONLY))
        for _ in range(3):
            with pytest.raises(RecordRefused, match=os.strerror(errno.ENOSPC)):
                writer.write(decisions_of(author, 1))
    writer.write(decisions_of(author, 2))
    assert bases(tmp_path) == [2]


def test_a_disk_full_between_segments_keeps_what_was_and_what_comes(tmp_path: Path, file_limit: None) -> None:
    writer, author = SpoolWriter(tmp_path, 4096), author_of(n_fields=20)
    kept = []
    for base in range(100):
        allow(1 if base % 10 == 9 else -1)
        try:
            writer.write(decisions_of(author, base))
            kept.append(base)
        except RecordRefused:
            assert base % 10 == 9
        finally:
            allow(-1)
    assert len(kept) == 90
    assert bases(tmp_path) == kept


def test_a_frame_that_cannot_be_taken_back_ends_its_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, author, real_write = SpoolWriter(tmp_path, SEGMENT), author_of(), os.write
    writer.write(decisions_of(author, 1))

    def broken(fd: int, length: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as failing:
        failing.setattr(os, "write", lambda fd, raw: real_write(fd, raw[:20]))
        failing.setattr(os, "ftruncate", broken)
        with pytest.raises(RecordRefused):
            writer.write(decisions_of(author, 2))
    writer.write(decisions_of(author, 3))
    assert bases(tmp_path) == [1, 3]


def test_a_spool_folder_that_is_gone_is_refused_with_nothing_of_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "secret-folder"
    writer = SpoolWriter(folder, SEGMENT)
    folder.rmdir()
    folder.write_text("a file in its place")
    with pytest.raises(RecordRefused) as caught:
        writer.write(decisions_of(author_of(), 1))
    assert "secret-folder" not in str(caught.value)
    folder.unlink()
    folder.mkdir()
    writer.write(decisions_of(author_of(), 2))
    assert bases(folder) == [2]


def test_segments_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    SpoolWriter(tmp_path, SEGMENT).write(decisions_of(author_of(), 1))
    assert segments(tmp_path)[0].path.stat().st_mode & 0o077 == 0


def test_a_score_is_recorded_before_it_is_given_and_not_given_where_it_is_not(tmp_path: Path) -> None:
    author = author_of()

    def score(batch: Batch) -> Decisions:
        return decisions_of(author, 7)

    batch = Batch(np.zeros((1, 2)), Context(1), NO_DEFAULTS)
    decisions = recorded(score, SpoolWriter(tmp_path, SEGMENT))(batch)
    assert [exactly(found) for found in read_spool(tmp_path)] == [exactly(decisions)]

    class Full:
        def write(self, decisions: Decisions) -> None:
            raise RecordRefused("full", 5)

    with pytest.raises(RecordRefused):
        recorded(score, Full())(batch)
