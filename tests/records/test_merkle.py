"""The growing tree has the roots of RFC 9162 (section 2.1.1), whatever the steps it grew by."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.records.merkle import Stump, Tree, merged


def root_of(leaves: list[bytes]) -> bytes:
    """The definition, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + root_of(leaves[:split]) + root_of(leaves[split:])).digest()


leaves = st.lists(st.binary(min_size=32, max_size=32), max_size=70)


@given(leaves, st.integers(0, 70))
def test_a_tree_that_grows_in_two_processes_has_the_root_of_the_whole(found: list[bytes], at: int) -> None:
    first = Tree()
    first.extend(found[:at])
    second = Tree(first.size, first.state)
    second.extend(found[at:])
    assert (second.size, second.root) == (len(found), root_of(found))
    assert len(second.state) == 32 * len(found).bit_count()


@given(leaves.filter(bool), st.data())
def test_any_leaf_changed_moved_or_left_out_changes_the_root(found: list[bytes], data: st.DataObject) -> None:
    tree, other = Tree(), Tree()
    tree.extend(found)
    place = data.draw(st.integers(0, len(found) - 1))
    flipped = bytes([found[place][0] ^ 1]) + found[place][1:]
    other.extend([*found[:place], *data.draw(st.sampled_from(([flipped], []))), *found[place + 1 :]])
    assert other.root != tree.root


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_stumps_stand_for_any_leaves_and_leave_every_root_as_it_is(gone: list[bool]) -> None:
    leaves = [hashlib.sha256(bytes([place])).digest() for place in range(len(gone))]
    whole, rest = Tree(), Tree()
    whole.extend(leaves)
    stumps = {
        stump.place: stump
        for stump in merged(Stump(place, 1, leaves[place]) for place, is_gone in enumerate(gone) if is_gone)
    }
    assert sum(stump.leaves for stump in stumps.values()) == sum(gone)
    while rest.size < len(gone):
        if rest.size in stumps:
            rest.add_stump(stumps[rest.size])
        else:
            rest.extend([leaves[rest.size]])
    assert (rest.size, rest.state, rest.root) == (whole.size, whole.state, whole.root)


def test_a_leaf_is_not_gone_twice_and_a_stump_is_a_node() -> None:
    leaf = hashlib.sha256(b"").digest()
    with pytest.raises(ValueError, match="twice"):
        merged([Stump(0, 4, leaf), Stump(3, 1, leaf)])
    tree = Tree()
    tree.extend([leaf])
    for stump in (Stump(0, 1, leaf), Stump(2, 1, leaf), Stump(1, 2, leaf), Stump(1, 0, leaf), Stump(1, 3, leaf)):
        with pytest.raises(ValueError, match="no stump"):
            tree.add_stump(stump)
