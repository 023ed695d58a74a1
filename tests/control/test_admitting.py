"""What the steward makes of keys in the database and of an issuer's answers, whatever these are."""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from scoreline.access.caller import Caller
from scoreline.access.keyring import hash_key
from scoreline.control import jwks as jwks_module
from scoreline.control.admitting import Admitting
from scoreline.control.jwks import MAX_BYTES, fetch_jwks
from scoreline.core.errors import DatabaseDown, IssuerDown
from scoreline.operations.apikeys import create, grant_of, revoke
from scoreline.operations.credentials import Credentials, read_credentials, write_credentials
from scoreline.records.actions import By
from scoreline.records.apikeys import all_keys
from scoreline.records.database import Database, open_database
from someissuer import issuing

EVA = By("eva")


def opened(folder: Path) -> Database:
    found = open_database("", folder / "scoreline.db")
    found.prepare()
    return found


def test_keys_that_count_are_put_down_and_their_use_comes_back(tmp_path: Path) -> None:
    database = opened(tmp_path)
    admitting = Admitting(database, tmp_path)
    admitting.look()
    assert read_credentials(tmp_path) == Credentials()
    made = create(database, grant_of("shop", ["predict"], ["fraud"], now_ns=0), EVA)
    admitting.look()
    caller = Caller("shop", frozenset(("predict",)), frozenset(("fraud",)), number=made.number)
    assert read_credentials(tmp_path) == Credentials({hash_key(made.key.encode()): caller}, guarded=True)
    before = (tmp_path / "access.json").stat().st_mtime_ns
    used = tmp_path / "used" / str(made.number)
    used.parent.mkdir()
    used.touch()
    os.utime(used, ns=(5_000, 5_000))
    admitting.look()
    assert all_keys(database)[0].used_ns == 5_000
    assert (tmp_path / "access.json").stat().st_mtime_ns == before, "what has not changed is not written"
    revoke(database, made.number, EVA)
    admitting.look()
    assert read_credentials(tmp_path) == Credentials(guarded=True)


def test_while_the_database_is_away_nothing_changes(tmp_path: Path) -> None:
    known = Credentials({b"k" * 32: Caller("shop", frozenset(("predict",)))}, guarded=True)
    write_credentials(tmp_path, known)
    away = open_database("postgresql://scoreline@127.0.0.1:1/none", tmp_path / "unused")
    admitting = Admitting(away, tmp_path)
    with pytest.raises(DatabaseDown):
        admitting.look()
    assert read_credentials(tmp_path) == known
    nothing_known = Admitting(away, tmp_path / "new")
    with pytest.raises(DatabaseDown):
        nothing_known.look()
    assert not (tmp_path / "new" / "access.json").exists()


def test_an_issuers_keys_are_fetched_kept_and_not_lost_when_it_is_away(tmp_path: Path) -> None:
    database = opened(tmp_path)
    with issuing() as issuer:
        first = Admitting(database, tmp_path, issuer.url)
        first.fetch()
        first.look()
        known = read_credentials(tmp_path)
        assert list(known.jwks) == issuer.jwks and known.fetched_ns > 0
        for _ in range(20):
            first.fetch()
        assert issuer.asked == 1
        issuer.answers = 503, b""
        again = Admitting(database, tmp_path, issuer.url)
        with pytest.raises(IssuerDown, match="it answered 503"):
            again.fetch()
        again.fetch()
        assert issuer.asked == 2, "it is left alone for a while"
        again.look()
    assert read_credentials(tmp_path) == known


def test_a_worker_that_asks_has_them_fetched_but_not_at_once_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = time.monotonic()
    with issuing() as issuer:
        admitting = Admitting(opened(tmp_path), tmp_path, issuer.url)
        monkeypatch.setattr(time, "monotonic", lambda: now_s)
        admitting.fetch()

        def after(seconds: float, *, asks: bool) -> int:
            if asks:
                asked_ns = time.time_ns() + int(seconds * 1e9)
                (tmp_path / "jwks.asked").touch()
                os.utime(tmp_path / "jwks.asked", ns=(asked_ns, asked_ns))
            monkeypatch.setattr(time, "monotonic", lambda: now_s + seconds)
            admitting.fetch()
            return issuer.asked

        assert after(1, asks=True) == 1
        assert after(9, asks=True) == 1
        assert after(11, asks=False) == 2
        assert after(50, asks=False) == 2
        assert after(51, asks=True) == 3
        assert after(400, asks=False) == 4


ANSWERS: dict[str, tuple[int, bytes]] = {
    "no JSON": (200, b"<html>"),
    "a key twice": (200, b'{"keys": [], "keys": []}'),
    "no set": (200, b"[]"),
    "keys that are no list": (200, b'{"keys": {}}'),
    "not found": (404, b'{"keys": []}'),
    "elsewhere": (302, b'{"keys": []}'),
    "huge": (200, json.dumps({"keys": ["x" * MAX_BYTES]}).encode()),
    "nested": (200, b'{"keys": ' + b"[" * 100_000),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_no_set_of_keys_is_refused_and_names_no_url(name: str) -> None:
    with issuing() as issuer:
        issuer.answers = ANSWERS[name]
        with pytest.raises(IssuerDown) as refused:
            fetch_jwks(issuer.url)
        assert issuer.url not in str(refused.value)
        assert issuer.asked == 1, "nothing that it leads to is asked"


def test_an_issuer_that_is_not_there_is_told_apart() -> None:
    with pytest.raises(IssuerDown, match="ConnectionRefusedError"):
        fetch_jwks("http://127.0.0.1:1/jwks")


def test_an_issuer_that_drips_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte after another, each in time for the socket: the whole is not."""
    import socket

    monkeypatch.setattr(jwks_module, "PATIENCE_S", 0.3)
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> Any:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
                while not done.wait(0.05):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        return

        dripping = threading.Thread(target=drip, daemon=True)
        dripping.start()
        with pytest.raises(IssuerDown, match="take more than"):
            fetch_jwks(f"http://127.0.0.1:{listener.getsockname()[1]}/jwks")
        done.set()
        dripping.join(20)
