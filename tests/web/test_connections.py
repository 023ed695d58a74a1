"""Who comes when all places are taken, and what that costs those who are there."""

import pytest

from scoreline.web.connections import BUSY, GUESTS, IDLE, Connections, Limits

N = 512


class Client:
    """Notes how often it is looked at, and what is done with it."""

    n_looks = 0

    def __init__(self, state: str = BUSY, since_ns: int = 0) -> None:
        self._state = state, since_ns
        self.peer = "10.0.0.1"
        self.is_closing = False

    def state(self) -> tuple[str, int]:
        Client.n_looks += 1
        return self._state

    def end(self, *, late: bool) -> None:
        self.is_closing = True

    def drop(self) -> None:
        self.is_closing = True

    def read_again(self) -> None: ...


@pytest.mark.parametrize("n_silent", (0, 1))
def test_many_who_find_no_place_cost_those_who_have_one_no_more_than_a_few_looks(n_silent: int) -> None:
    found = Connections(Limits(n_connections=N))
    for number in range(N):
        assert found.enter(Client(IDLE if number < n_silent else BUSY))
    Client.n_looks = 0
    newcomers = [Client() for _ in range(100 * GUESTS)]
    places = [found.enter(newcomer) for newcomer in newcomers]
    assert sum(places) == n_silent
    assert sum(not newcomer.is_closing for newcomer in newcomers) <= GUESTS + n_silent
    assert Client.n_looks <= 3 * (N + GUESTS)


def test_who_falls_silent_later_makes_room_all_the_same() -> None:
    found, early = Connections(Limits(n_connections=N)), Client()
    for _ in range(N - 1):
        found.enter(Client())
    found.enter(early)
    assert not found.enter(Client())
    early._state = IDLE, 1 << 62
    found.look()
    assert found.enter(Client())
    assert early.is_closing
