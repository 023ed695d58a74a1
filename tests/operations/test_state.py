"""`state.json`: what is written is what is read, as a whole."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.core.errors import NotFound, SettingError
from scoreline.operations.state import Assignment, Canary, Challenged, Pin, State, read_state, write_state

NOBODY_BESIDE = {"canary": None, "pins": [], "challengers": []}
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
salts = st.binary(max_size=64).map(bytes.hex)
canaries = st.none() | st.builds(Canary, texts, digests, st.floats(0, 1), salts)
pins = st.lists(st.builds(Pin, texts, digests, st.integers(0, 2**63)), max_size=2).map(tuple)
challengers = st.lists(st.builds(Challenged, texts, digests, st.integers(0, 2**63)), max_size=3).map(tuple)
assigned = st.builds(Assignment, texts, digests, st.integers(0, 2**63), canaries, pins, challengers)
assignments = st.dictionaries(texts, assigned, max_size=3)


@st.composite
def states(draw: st.DrawFn) -> State:
    models = draw(assignments)
    return State(models, draw(st.sampled_from(["", *models])))


@given(states())
def test_state_read_is_the_state_written(tmp_path_factory: pytest.TempPathFactory, state: State) -> None:
    folder = tmp_path_factory.getbasetemp() / "state"
    write_state(folder, state)
    assert read_state(folder) == state


def test_only_the_owner_reads_the_state(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        write_state(tmp_path / "new", State({}))
    finally:
        os.umask(old)
    assert (tmp_path / "new" / "state.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["state.json"]


def test_reader_sees_the_old_state_or_the_new_one(tmp_path: Path) -> None:
    """While one replaces it as fast as it can, each read is one of the two as a whole."""
    small = State({"m": Assignment("1", "a" * 64)}, default="m")
    large = State({f"m{n}": Assignment("1", "b" * 64, n) for n in range(300)}, default="m0")
    write_state(tmp_path, small)
    done = threading.Event()

    def replace() -> None:
        for number in range(200):
            write_state(tmp_path, large if number % 2 else small)
        done.set()

    writer = threading.Thread(target=replace)
    writer.start()
    reads = 0
    while not done.is_set() or reads < 10:
        assert read_state(tmp_path) in (small, large)
        reads += 1
    writer.join()


def test_failure_while_writing_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State({"m": Assignment("1", "a" * 64)})
    write_state(tmp_path, state)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_state(tmp_path, State({}))
    assert read_state(tmp_path) == state
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_state_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="`scoreline serve` writes it"):
        read_state(tmp_path)


def _with_canary(canary: str) -> str:
    assigned = f'{{"version": "1", "digest": "a", "canary": {canary}}}'
    return f'{{"format": 1, "models": {{"m": {assigned}}}, "default": ""}}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "5",
        "{}",
        '{"format": 2}',
        '{"format": 1}',
        '{"format": 1, "models": [], "default": ""}',
        '{"format": 1, "models": {}, "default": "m"}',
        '{"format": 1, "models": {"m": 5}, "default": ""}',
        '{"format": 1, "models": {"m": {"digest": "a"}}, "default": ""}',
        '{"format": 1, "models": {"m": {"version": "1", "digest": "a", "x": 1}}, "default": ""}',
        _with_canary('{"version": "2", "digest": "b", "share": 0.1}'),
        _with_canary('{"version": "2", "digest": "b", "share": 1.1, "salt": ""}'),
        _with_canary('{"version": "2", "digest": "b", "share": "1", "salt": ""}'),
        _with_canary('{"version": "2", "digest": "b", "share": 0.1, "salt": "xy"}'),
        _with_canary('{"version": "2", "digest": "b", "share": 0.1, "salt": 7}'),
        _with_canary("7"),
        _with_canary('null, "pins": [7]'),
        _with_canary('null, "pins": [{"version": "2"}]'),
        _with_canary('null, "pins": 7'),
        _with_canary('null, "challengers": [{"version": "2"}]'),
        _with_canary('null, "challengers": 7'),
    ],
)
def test_damaged_state_is_told_rather_than_guessed(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(SettingError, match=r"state\.json"):
        read_state(tmp_path)


def test_state_is_json_that_people_can_read(tmp_path: Path) -> None:
    write_state(tmp_path, State({"m": Assignment("1", "a" * 64, 3)}, default="m"))
    assert json.loads((tmp_path / "state.json").read_text()) == {
        "format": 1,
        "models": {"m": {"version": "1", "digest": "a" * 64, "epoch": 3, **NOBODY_BESIDE}},
        "default": "m",
    }
