"""Assignment: the same for the same unit, nested, even, and new with each salt."""

import hashlib
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scoreline.core.assign import assigned

UNITS = [hashlib.blake2b(b"%d" % number, digest_size=16).digest() for number in range(50_000)]
SALT, OTHER = bytes(range(16)), bytes(range(16, 32))


@given(st.binary(max_size=64), st.binary(min_size=16, max_size=16), st.floats(0, 1), st.floats(0, 1))
def test_who_is_assigned_at_a_share_is_assigned_at_every_larger_one(
    unit: bytes, salt: bytes, one: float, two: float
) -> None:
    low, high = sorted((one, two))
    assert assigned(unit, salt, low) <= assigned(unit, salt, high)


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_nobody_at_none_and_everybody_at_all(unit: bytes, salt: bytes) -> None:
    assert not assigned(unit, salt, 0.0)
    assert assigned(unit, salt, 1.0)


def test_the_share_is_compared_exactly_with_the_hash() -> None:
    """Every host must say the same for ever: the figures are part of the interface."""
    drawn = int.from_bytes(hashlib.blake2b(b"a", key=SALT, digest_size=8).digest(), "big")
    place = drawn / 2**64
    assert not assigned(b"a", SALT, math.nextafter(place, 0))
    assert assigned(b"a", SALT, math.nextafter(place, 1))
    first = "".join(str(int(assigned(unit, SALT, 0.5))) for unit in UNITS[:32])
    assert first == "11001010111000101010111001100100"


def test_units_are_spread_evenly() -> None:
    """Chi-square of 50,000 units in 20 parts, 19 degrees of freedom: beyond 43.8 by chance once in a thousand."""
    shares = np.linspace(0, 1, 21)[1:]
    below = np.array([sum(assigned(unit, SALT, share) for unit in UNITS) for share in shares])
    counts = np.diff(below, prepend=0)
    wanted = len(UNITS) / 20
    assert ((counts - wanted) ** 2 / wanted).sum() < 43.8


def test_two_salts_know_nothing_of_one_another() -> None:
    """Chi-square of the 2 by 2 table at a share of 10 %, one degree of freedom: beyond 10.8 once in a thousand."""
    one, two = (np.array([assigned(unit, salt, 0.1) for unit in UNITS]) for salt in (SALT, OTHER))
    table = np.array([[(one == a) & (two == b) for b in (False, True)] for a in (False, True)]).sum(axis=2)
    wanted = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    assert ((table - wanted) ** 2 / wanted).sum() < 10.8
