"""Clients that only hold connections: `holding.py PORT IDLE SLOW` keeps so many idle, and so many that send a head
a byte a second. What the service closes is opened again, a few each time, until this process is ended."""

import selectors
import socket
import sys
import time
from typing import Final

HEAD: Final = b"POST /predict HTTP/1.1\r\nhost: localhost\r\nx-slow: " + b"s" * 4000
OPENED_AT_ONCE: Final = 50
PAUSE_S: Final = 0.1


def main() -> None:
    port, idle, slow = map(int, sys.argv[1:])
    with selectors.DefaultSelector() as selector:
        held: dict[socket.socket, int] = {}  # -1: idle; else how much of the head was sent
        told, round_ = False, 0
        while True:
            round_ += 1
            n_slow = sum(sent >= 0 for sent in held.values())
            for _ in range(min(OPENED_AT_ONCE, idle + slow - len(held))):
                found = socket.create_connection(("127.0.0.1", port))
                found.setblocking(False)
                selector.register(found, selectors.EVENT_READ)
                held[found] = 0 if n_slow < slow else -1
                n_slow += held[found] == 0
            if not told and len(held) == idle + slow:
                told = True
                print("held", flush=True)
            for key, _ in selector.select(0):
                close(selector, held, key.fileobj)
            if round_ % round(1 / PAUSE_S) == 0:
                for found, sent in list(held.items()):
                    if sent >= 0:
                        go_on(selector, held, found, sent)
            time.sleep(PAUSE_S)


def go_on(selector: selectors.BaseSelector, held: dict[socket.socket, int], found: socket.socket, sent: int) -> None:
    try:
        found.send(HEAD[sent : sent + 1])
        held[found] = sent + 1
    except OSError:
        close(selector, held, found)


def close(selector: selectors.BaseSelector, held: dict[socket.socket, int], found: object) -> None:
    """Whatever is readable here is the service's last word."""
    assert isinstance(found, socket.socket)
    selector.unregister(found)
    del held[found]
    found.close()


if __name__ == "__main__":
    main()
