"""Resources of sessions: kinds are refused by name, all or none are attached, no two are in one place."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from agents.catalog.resources import (
    ResourceOwner,
    Resources,
    StoredResource,
    find,
    mounts_of,
    resource_wire,
    stored_resource,
    with_change,
)
from agents.errors import InvalidRequest, NotFound
from agents.hands.port import Mount

OWNER = ResourceOwner("sesn_1", "default", "key", self_hosted=False, now=datetime(2026, 1, 1, tzinfo=UTC))


class Kind:
    """Attaches what it is given, and remembers what it gave up."""

    def __init__(self, *, most: int = 3, self_hosted: bool = False, addable: bool = True) -> None:
        self.most = most
        self.self_hosted = self_hosted
        self.addable = addable
        self.given_up: list[str] = []

    async def attach(self, where: str, given: Mapping[str, Any], owner: ResourceOwner) -> StoredResource:
        if given.get("bad"):
            raise InvalidRequest(f"{where}: bad")
        path = given.get("path")
        return stored_resource({"type": given["type"]}, mount=Mount("file", "s", path) if path else None)

    async def changed(self, stored: StoredResource, change: Mapping[str, Any], owner: ResourceOwner) -> StoredResource:
        return {**stored, "private": dict(change)}

    async def detach(self, stored: StoredResource) -> None:
        self.given_up.append(stored["id"])


def a(path: str | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "a", "path": path, **more}


async def test_what_is_attached_says_what_is_shown_and_mounted() -> None:
    made = await Resources({"a": Kind()}).attach_all([a("/x"), a(), a("/y")], OWNER)
    assert [resource_wire(each) for each in made] == [{"type": "a"}] * 3
    assert mounts_of(made) == (Mount("file", "s", "/x"), Mount("file", "s", "/y"))
    assert find(made, made[1]["id"]) is made[1]
    with pytest.raises(NotFound):
        find(made, "sesrsc_x")


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ([a(), {"type": "b"}], r"^resources\[1\]\.type: .*not available"),
        ([a(), a(bad=True)], r"^resources\[1\]: bad"),
        ([a()] * 4, r"^resources\[3\]\.type: .*at most 3"),
        ([a("/x"), a("/x")], r"^resources\[1\]\.mount_path: /x is taken"),
        ([a("/x"), a("/x/y")], r"^resources\[1\]\.mount_path: /x/y is taken"),
        ([a("/x/y"), a("/x")], r"^resources\[1\]\.mount_path: /x is taken"),
    ],
)
async def test_all_or_none_are_attached(given: list[dict[str, Any]], fault: str) -> None:
    kind = Kind()
    with pytest.raises(InvalidRequest, match=fault):
        await Resources({"a": kind}).attach_all(given, OWNER)
    made = len([each for each in given if each["type"] == "a" and not each.get("bad")])
    assert len(kind.given_up) == min(made, 3)


async def test_names_that_only_begin_alike_are_two_places() -> None:
    assert len(await Resources({"a": Kind()}).attach_all([a("/x"), a("/xy")], OWNER)) == 2


async def test_a_kind_may_be_for_creation_only_and_not_for_workers() -> None:
    resources = Resources({"a": Kind(addable=False)})
    (made,) = await resources.attach_all([a()], OWNER)
    with pytest.raises(InvalidRequest, match="created"):
        await resources.attach(a(), OWNER, [])
    with pytest.raises(InvalidRequest, match="stays"):
        resources.check_removable(made)
    away = ResourceOwner("sesn_1", "default", "key", self_hosted=True, now=OWNER.now)
    with pytest.raises(InvalidRequest, match="self-hosted"):
        await resources.attach_all([a()], away)
    assert await Resources({"a": Kind(self_hosted=True)}).attach_all([a()], away)


async def test_one_more_is_checked_against_those_there_are() -> None:
    resources = Resources({"a": Kind(most=1)})
    made = await resources.attach(a("/x"), OWNER, [])
    with pytest.raises(InvalidRequest, match=r"^type: "):
        await resources.attach(a(), OWNER, [made])


def test_changes_may_be_made_again() -> None:
    one, two = stored_resource({"id": "1", "type": "a"}), stored_resource({"id": "2", "type": "a"})
    both = with_change((one,), {"add": two})
    assert both == with_change(both, {"add": two}) == (one, two)
    other = {**one, "private": {"token": "sealed"}}
    assert with_change(both, {"replace": other}) == (other, two)
    assert with_change(both, {"remove": "1"}) == with_change((two,), {"remove": "1"}) == (two,)
    with pytest.raises(NotFound):
        with_change((two,), {"replace": other})


def test_what_has_come_meanwhile_keeps_its_place() -> None:
    one = stored_resource({"type": "a"}, mount=Mount("file", "s", "/x"))
    two = stored_resource({"type": "a"}, mount=Mount("file", "s", "/x/y"))
    with pytest.raises(InvalidRequest, match="taken"):
        with_change((one,), {"add": two})
