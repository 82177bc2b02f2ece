"""Who should hold which partitions: fair, disjoint, soon settled and then still.

Bug class this catches: members that all hold the ceiling while a newcomer gets nothing, partitions that
nobody takes, partitions that wander for ever.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.sessions.balance import plan, shares
from agents.sessions.log import LeaseTable
from agents.sessions.sides import territory

NAMES = [f"harness-{number}" for number in range(12)]
MONOLITHS = [f"monolith-m-{number}" for number in range(3)]
ROUNDS = 4


class Cluster:
    """Members that act on tables; the dictionary of owners stands for the store."""

    def __init__(self, partitions: int, *, sides: bool = False) -> None:
        self.partitions = partitions
        self.sides = sides
        self.owners: dict[int, str] = {}
        self.members: set[str] = set()
        self.moves = 0

    def table(self) -> LeaseTable:
        return LeaseTable(dict(self.owners), tuple(sorted(self.members)))

    def held(self, member: str) -> set[int]:
        return {partition for partition, owner in self.owners.items() if owner == member}

    def leave(self, member: str) -> None:
        self.members.discard(member)
        self.owners = {partition: owner for partition, owner in self.owners.items() if owner != member}

    def act(self, member: str, table: LeaseTable) -> None:
        """One beat of *member*, which read *table* some time ago; the store refuses what is taken meanwhile."""
        decided = plan(table, member, self.held(member), self.partitions, sides=self.sides)
        for partition in decided.claim:
            if self.owners.setdefault(partition, member) == member:
                self.moves += 1
        for partition in sorted(self.held(member), key=lambda each: each not in decided.foreign)[: decided.excess]:
            del self.owners[partition]

    def round(self, *, stale: bool) -> None:
        """A beat of every member: all from one table, or each from its own fresh one."""
        table = self.table()
        for member in sorted(self.members):
            self.act(member, table if stale else self.table())

    @property
    def balanced(self) -> bool:
        counts = [len(self.held(member)) for member in self.members]
        return len(self.owners) == self.partitions and max(counts) - min(counts) <= 1


counts = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 80), min_size=1)


@given(counts, st.integers(1, 300))
def test_shares_add_up_and_differ_by_at_most_one(held: dict[str, int], partitions: int) -> None:
    due = shares(held, partitions)
    assert sum(due.values()) == partitions and max(due.values()) - min(due.values()) <= 1


@given(counts)
def test_who_holds_more_keeps_the_odd_ones(held: dict[str, int]) -> None:
    due = shares(held, 100)
    assert all(due[a] >= due[b] for a in held for b in held if held[a] > held[b])


@given(
    st.dictionaries(st.integers(0, 40), st.sampled_from(NAMES[:6]), max_size=40),
    st.sets(st.sampled_from(NAMES[:6]), min_size=1),
    st.integers(1, 41),
)
def test_members_that_see_the_same_table_never_claim_the_same_partition(
    owners: dict[int, str], members: set[str], partitions: int
) -> None:
    owners = {partition: owner for partition, owner in owners.items() if partition < partitions}
    table = LeaseTable(owners, tuple(sorted(members)))
    chosen: list[int] = []
    for member in members:
        held = {partition for partition, owner in owners.items() if owner == member}
        decided = plan(table, member, held, partitions)
        assert not (decided.claim and decided.excess)
        chosen += decided.claim
    assert len(set(chosen)) == len(chosen) and not set(chosen) & owners.keys()


@given(
    st.integers(1, 130),
    st.lists(st.tuples(st.sampled_from(["join", "leave", "beat"]), st.sampled_from(NAMES)), max_size=30),
    st.booleans(),
)
def test_whoever_comes_and_goes_every_partition_is_soon_held_in_fair_shares_and_then_stays(
    partitions: int, story: list[tuple[str, str]], stale: bool
) -> None:
    cluster = Cluster(partitions)
    for what, member in story:
        if what == "join":
            cluster.members.add(member)
        elif what == "leave":
            cluster.leave(member)
        elif member in cluster.members:
            cluster.act(member, cluster.table())
    cluster.members.add(NAMES[0])
    for _ in range(ROUNDS):
        cluster.round(stale=stale)
    assert cluster.balanced
    before = cluster.owners.copy(), cluster.moves
    cluster.round(stale=stale)
    assert (cluster.owners, cluster.moves) == before


@pytest.mark.parametrize(("members", "partitions"), [(8, 64), (9, 64), (3, 64), (5, 4)])
def test_a_newcomer_gets_its_share_and_only_what_it_needs_moves(members: int, partitions: int) -> None:
    cluster = Cluster(partitions)
    cluster.members = set(NAMES[:members])
    for _ in range(ROUNDS):
        cluster.round(stale=True)
    moved = cluster.moves
    cluster.members.add(NAMES[members])
    for _ in range(ROUNDS):
        cluster.round(stale=True)
    assert cluster.balanced
    assert cluster.moves - moved == partitions // (members + 1)


def test_what_an_earlier_process_of_my_name_held_is_mine_at_once() -> None:
    table = LeaseTable({0: "a", 1: "a", 2: "a", 3: "b"}, ("a", "b"))
    decided = plan(table, "a", held=(), partitions=4)
    assert decided.claim == (0, 1, 2) and decided.excess == 1


def test_a_member_that_is_about_to_go_is_not_counted_but_what_it_holds_is_not_free() -> None:
    table = LeaseTable({0: "going", 1: "going", 2: "a"}, ("a", "b"))
    assert plan(table, "b", held=(), partitions=4).claim == (3,)
    assert plan(table, "b", held=(), partitions=4).missing == 1


@given(
    st.integers(2, 130),
    st.lists(
        st.tuples(st.sampled_from(["join", "leave", "beat"]), st.sampled_from(NAMES[:4] + MONOLITHS)), max_size=30
    ),
    st.booleans(),
)
def test_with_a_standby_each_side_soon_holds_its_own_in_fair_shares_and_then_keeps_it(
    partitions: int, story: list[tuple[str, str]], stale: bool
) -> None:
    cluster = Cluster(partitions, sides=True)
    for what, member in story:
        if what == "join":
            cluster.members.add(member)
        elif what == "leave":
            cluster.leave(member)
        elif member in cluster.members:
            cluster.act(member, cluster.table())
    cluster.members |= {NAMES[0], MONOLITHS[0]}
    for _ in range(ROUNDS):
        cluster.round(stale=stale)
    assert len(cluster.owners) == partitions
    for side, names in (("decoupled", NAMES), ("monolith", MONOLITHS)):
        counts = [len(cluster.held(member)) for member in cluster.members & set(names)]
        own = {p for p, owner in cluster.owners.items() if owner in names}
        assert own == set(territory(side, partitions)) and max(counts) - min(counts) <= 1
    before = cluster.owners.copy(), cluster.moves
    cluster.round(stale=stale)
    assert (cluster.owners, cluster.moves) == before


@pytest.mark.parametrize(("left", "gone"), [(NAMES[0], MONOLITHS[0]), (MONOLITHS[0], NAMES[0])])
def test_where_one_side_has_no_member_the_other_holds_everything_until_it_is_back(left: str, gone: str) -> None:
    cluster = Cluster(64, sides=True)
    cluster.members = {left, gone}
    for _ in range(ROUNDS):
        cluster.round(stale=True)
    kept, lost = cluster.held(left), cluster.held(gone)
    cluster.leave(gone)
    cluster.round(stale=True)
    assert cluster.held(left) == set(range(64))
    cluster.members.add(gone)
    for _ in range(ROUNDS):
        cluster.round(stale=True)
    assert (cluster.held(left), cluster.held(gone)) == (kept, lost)


def test_an_answer_that_was_lost_is_claimed_again_on_the_other_side_too() -> None:
    """Else it would be renewed for ever, and served by nobody."""
    table = LeaseTable({0: "harness-0", 3: "harness-0"}, ("harness-0", "monolith-m-0"))
    decided = plan(table, "harness-0", held=(0,), partitions=4, sides=True)
    assert decided.claim == (3, 1, 2)
    assert plan(table, "harness-0", held=(0, 3), partitions=4, sides=True).foreign == {3}
