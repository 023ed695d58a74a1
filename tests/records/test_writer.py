"""The writing end of the spool: its bounds, what it does when it is full, and when it goes to the disk."""

import errno
import os
from pathlib import Path

import pytest

from scoreline.core.errors import RecordRefused
from scoreline.records.frames import AUTHOR, FAILED, MAGIC, Missed, Unsent, read_parts
from scoreline.records.segments import read_items, segments
from scoreline.records.spool import SpoolReader, read_spool
from scoreline.records.tally import Tallies
from scoreline.records.writer import SpoolWriter, sync_and_close
from somedecisions import author_of, decisions_of

SEGMENT = 1 << 16


def bases(folder: Path) -> list[int]:
    return [decisions.base >> 20 for decisions in read_spool(folder)]


def in_a_second(writer: SpoolWriter) -> None:
    """Lets the writer measure its folder again."""
    writer._measured_ns = 0


def test_a_spool_at_its_bound_refuses_until_what_was_shipped_is_gone(tmp_path: Path) -> None:
    writer, author = SpoolWriter(tmp_path, SEGMENT, max_bytes=4 * SEGMENT), author_of(n_fields=20)
    with pytest.raises(RecordRefused, match=r"records\.max_bytes"):
        for base in range(10_000):
            writer.write(decisions_of(author, base))
    assert not writer.has_room
    size = sum(segment.path.stat().st_size for segment in segments(tmp_path))
    assert 3.9 * SEGMENT < size <= 4 * SEGMENT
    assert bases(tmp_path) == list(range(base))
    writer.look()
    assert not writer.has_room
    segments(tmp_path)[0].path.unlink()
    in_a_second(writer)
    writer.look()
    assert writer.has_room
    before = len(bases(tmp_path))
    writer.write(decisions_of(author, base))
    assert bases(tmp_path)[before:] == [base]


def test_many_writers_together_stay_within_the_bound(tmp_path: Path) -> None:
    author = author_of(n_fields=20)
    writers = [SpoolWriter(tmp_path, SEGMENT, max_bytes=8 * SEGMENT, n_writers=4) for _ in range(4)]
    for base in range(20_000):
        try:
            writers[base % 4].write(decisions_of(author, base))
        except RecordRefused:
            break
    assert sum(segment.path.stat().st_size for segment in segments(tmp_path)) <= 8 * SEGMENT


def test_looking_for_room_leaves_nothing_behind(tmp_path: Path) -> None:
    writer, author = SpoolWriter(tmp_path, SEGMENT), author_of()
    writer.write(decisions_of(author, 1))
    before = segments(tmp_path)[0].path.read_bytes()
    writer.has_room = False
    writer.look()
    assert writer.has_room
    assert segments(tmp_path)[0].path.read_bytes() == before


def test_answering_without_a_record_is_counted_in_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, author = SpoolWriter(tmp_path, SEGMENT, on_full="answer"), author_of()
    writer.write(decisions_of(author, 1))

    def full(fd: int, raw: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        for base in (2, 3, 4):
            writer.write(decisions_of(author, base, n_rows=10))
            assert not writer.has_room
    writer.write(decisions_of(author, 5))
    items = read_items(segments(tmp_path)[0].path, 8, {})[0]
    time_ns = decisions_of(author, 1).context.time_ns
    assert items[1] == Missed(30, time_ns, time_ns)
    tallies = Tallies()
    SpoolReader(tmp_path).read(tallies.add)
    assert tallies.missed == 30
    assert bases(tmp_path) == [1, 5]


def test_an_answer_that_never_left_is_marked_in_whatever_segment_is_open(tmp_path: Path) -> None:
    writer, author = SpoolWriter(tmp_path, 4096), author_of(n_fields=20)
    gone = [decisions_of(author, base) for base in range(100)]
    for decisions in gone:
        writer.write(decisions)
        if decisions.base >> 20 == 50:
            writer.close()
        writer.unsent(decisions)
    found = [item for segment in segments(tmp_path) for item in read_items(segment.path, 8, {})[0]]
    assert [item for item in found if isinstance(item, Unsent)] == [Unsent(author, one.base) for one in gone]
    tallies, reader = Tallies(), SpoolReader(tmp_path)
    while reader.read(tallies.add):
        pass
    assert [(tally["requests"], tally["unsent"]) for tally in tallies.to_json()] == [(100, 100)]


def parts_of(folder: Path) -> list[list[object]]:
    """Every frame of a spool as it was encoded."""
    return [parts for segment in segments(folder) for parts, _ in read_parts(segment.path.read_bytes()[len(MAGIC) :])]


def test_a_version_that_failed_is_recorded_behind_its_author_and_is_no_decision(tmp_path: Path) -> None:
    writer, author, other = SpoolWriter(tmp_path, SEGMENT), author_of(), author_of(version="2", role="canary")
    writer.failed(other, 7, 11, "raised", [b"e" * 16])
    writer.write(decisions_of(author, 1))
    writer.failed(other, 8, 12, "died", [])
    found = parts_of(tmp_path)
    assert [parts[0] for parts in found] == [AUTHOR, FAILED, AUTHOR, 1, FAILED]
    assert [parts[1:] for parts in found if parts[0] == FAILED] == [
        [0, (7).to_bytes(16, "big"), 11, "raised", [b"e" * 16]],
        [0, (8).to_bytes(16, "big"), 12, "died", []],
    ]
    assert bases(tmp_path) == [1]


def test_failures_keep_the_bound_of_the_spool_and_are_never_raised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer, author = SpoolWriter(tmp_path, SEGMENT, max_bytes=2 * SEGMENT), author_of()
    for base in range(5000):
        writer.failed(author, base, 11, "raised", [b"e" * 16])
    assert sum(segment.path.stat().st_size for segment in segments(tmp_path)) <= 2 * SEGMENT
    assert "that version 1 of fraud failed is not recorded: " in caplog.text


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inodes and sizes of what was put on the disk, in order."""
    found: list[int] = []
    real = os.fdatasync

    def fdatasync(fd: int) -> None:
        real(fd)
        found.append(os.fstat(fd).st_size)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    return found


def test_fsync_always_puts_each_decision_on_the_disk_before_its_answer(tmp_path: Path, synced: list[int]) -> None:
    writer, author = SpoolWriter(tmp_path, SEGMENT, fsync="always"), author_of()
    for base in range(5):
        writer.write(decisions_of(author, base))
        assert len(synced) == base + 1
        assert synced[-1] == segments(tmp_path)[0].path.stat().st_size


def test_fsync_each_second_hands_on_every_segment_written_and_keeps_its_lock(tmp_path: Path, synced: list[int]) -> None:
    writer, author = SpoolWriter(tmp_path, 4096, fsync="second"), author_of(n_fields=20)
    for base in range(50):
        writer.write(decisions_of(author, base))
    found = segments(tmp_path)
    assert synced == []
    assert not any(segment.is_final for segment in found)
    sync_and_close(writer.unsynced())
    assert synced == [segment.path.stat().st_size for segment in found]
    assert [segment.is_final for segment in found] == [True] * (len(found) - 1) + [False]
    writer.close()
    sync_and_close(writer.unsynced())
    assert found[-1].is_final
    assert len(synced) == len(found) + 1


def test_never_leaves_it_to_the_kernel(tmp_path: Path, synced: list[int]) -> None:
    writer = SpoolWriter(tmp_path, SEGMENT)
    writer.write(decisions_of(author_of(), 1))
    assert writer.unsynced() == []
    assert synced == []


def test_what_cannot_be_put_on_the_disk_is_refused_and_a_new_segment_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, author = SpoolWriter(tmp_path, SEGMENT, fsync="always"), author_of()

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as disk:
        disk.setattr(os, "fdatasync", broken)
        with pytest.raises(RecordRefused, match="not on the disk"):
            writer.write(decisions_of(author, 1))
    writer.write(decisions_of(author, 2))
    assert len(segments(tmp_path)) == 2
