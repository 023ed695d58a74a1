"""The file of credentials: what is written is read, by its owner only, and what is damaged changes nothing."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.access.caller import PRIORITIES, Caller
from scoreline.access.keyring import Keyring
from scoreline.core.errors import NotFound, SettingError
from scoreline.operations.credentials import (
    Credentials,
    Watched,
    asked_ns,
    asking,
    read_credentials,
    used_since,
    write_credentials,
)

texts = st.text(max_size=8)
callers = st.builds(
    Caller,
    texts,
    st.frozensets(texts, max_size=3),
    st.none() | st.frozensets(texts, max_size=3),
    st.sampled_from(PRIORITIES),
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**62),
)
keys = st.dictionaries(st.binary(min_size=32, max_size=32), callers, max_size=4)
jwks = st.lists(st.dictionaries(texts, texts | st.integers()), max_size=3).map(tuple)


@given(st.builds(Credentials, keys, st.booleans(), jwks, st.integers(0, 2**62)))
def test_what_is_read_is_what_was_written(tmp_path_factory: pytest.TempPathFactory, known: Credentials) -> None:
    folder = tmp_path_factory.getbasetemp() / "credentials"
    write_credentials(folder, known)
    assert read_credentials(folder) == known


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        write_credentials(tmp_path / "new", Credentials())
    finally:
        os.umask(old)
    assert (tmp_path / "new" / "access.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["access.json"]


DAMAGED = (
    "",
    "{",
    "[]",
    "7",
    "{}",
    '{"format": 2, "keys": {}, "guarded": false, "jwks": [], "fetched_ns": 0}',
    '{"format": 1, "keys": {"zz": {}}, "guarded": false, "jwks": [], "fetched_ns": 0}',
    '{"format": 1, "keys": {"ab": {"name": "x"}}, "guarded": false, "jwks": [], "fetched_ns": 0}',
    '{"format": 1, "keys": {"ab": 7}, "guarded": false, "jwks": [], "fetched_ns": 0}',
    '{"format": 1, "keys": [], "guarded": false, "jwks": [], "fetched_ns": 0}',
    '{"format": 1, "keys": {}, "guarded": false, "jwks": 7, "fetched_ns": 0}',
)


@pytest.mark.parametrize("text", DAMAGED)
def test_what_is_damaged_is_told_and_the_keys_of_before_count_on(tmp_path: Path, text: str) -> None:
    write_credentials(tmp_path, Credentials({b"k" * 32: Caller("shop", frozenset())}, guarded=True))
    watched = Watched(tmp_path, lambda known, _: Keyring(known.keys if known else {}, guarded=True))
    before = watched.ring
    (tmp_path / "access.json").write_text(text)
    with pytest.raises(SettingError, match=r"access\.json"):
        read_credentials(tmp_path)
    assert not watched.look()
    assert watched.ring is before and before.keys


def test_before_anything_is_known_nothing_is_open(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="scoreline serve"):
        read_credentials(tmp_path)
    watched = Watched(tmp_path, lambda known, _: Keyring(guarded=known is None))
    assert not watched.ring.is_open
    write_credentials(tmp_path, Credentials())
    assert watched.look() and watched.ring.is_open
    assert not watched.look()
    (tmp_path / "access.json").unlink()
    assert not watched.look() and watched.ring.is_open


def test_when_keys_were_used_is_told_by_number(tmp_path: Path) -> None:
    ring = {b"k" * 32: Caller("shop", frozenset(), number=3)}
    watched = Watched(tmp_path, lambda _, used: Keyring(ring, used=used))
    assert used_since(tmp_path, {}) == {}
    before_ns = time.time_ns() - 1_000_000_000  # a file system's clock may tick slowly
    watched.ring.used.update((3, 17))
    watched.look()
    found = used_since(tmp_path, {})
    assert found.keys() == {3, 17} and min(found.values()) > before_ns
    assert used_since(tmp_path, found) == {}
    watched.ring.used.add(3)
    watched.look()
    assert used_since(tmp_path, found) == {}, "not again within a minute"
    assert watched.ring.used == {3}, "but it is not forgotten"


def test_asking_for_an_issuers_keys_is_bounded(tmp_path: Path) -> None:
    assert asked_ns(tmp_path) == 0
    ask = asking(tmp_path)
    ask()
    first_ns = asked_ns(tmp_path)
    assert first_ns > 0
    for _ in range(1000):
        ask()
    assert asked_ns(tmp_path) == first_ns
