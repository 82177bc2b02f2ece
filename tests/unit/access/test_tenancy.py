"""Scopes contain one another as they should, and an object of another workspace is not there."""

from __future__ import annotations

import pytest

from agents.access.records import Owned
from agents.access.scopes import KeyScope, allows
from agents.access.tenancy import Tenancy
from agents.access.workspaces import WORKSPACE, principal_of
from agents.errors import NotFound

A, D, R, E = KeyScope.ADMIN, KeyScope.DEVELOPER, KeyScope.READ_ONLY, KeyScope.ENVIRONMENT


@pytest.mark.parametrize(("held", "opens"), [(A, [A, D, R]), (D, [D, R]), (R, [R]), (E, [])])
def test_a_scope_opens_what_those_below_it_open(held: KeyScope, opens: list[KeyScope]) -> None:
    assert [needed for needed in (A, D, R) if allows(held, needed)] == opens


@pytest.mark.parametrize("needed", [A, D, R])
def test_an_environments_key_opens_what_workers_call_and_no_other(needed: KeyScope) -> None:
    assert allows(E, needed, for_workers=True)
    assert not allows(E, needed)
    assert not allows(R, D, for_workers=True)


class Owners:
    def __init__(self) -> None:
        self.asked = 0

    async def workspace_of(self, kind: Owned, object_id: str) -> str | None:
        self.asked += 1
        return {"sesn_a": "a", "sesn_b": "b"}.get(object_id)


async def test_a_foreign_object_is_refused_in_the_words_for_one_that_is_not_there() -> None:
    tenancy, said = Tenancy(Owners()), list[str]()
    for object_id in ("sesn_b", "sesn_0"):
        with pytest.raises(NotFound) as refused:
            await tenancy.check("session", object_id, "a")
        said.append(refused.value.message.replace(object_id, "ID"))
    assert said[0] == said[1]


async def test_whose_an_object_is_is_asked_once_and_absence_every_time() -> None:
    owners = Owners()
    tenancy = Tenancy(owners)
    for _ in range(5):
        await tenancy.check_path({"session_id": "sesn_a", "thread_id": "sthr_1"}, "a")
    assert owners.asked == 1
    for _ in range(2):
        with pytest.raises(NotFound):
            await tenancy.check("session", "sesn_0", "a")
    assert owners.asked == 3


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.access.tenancy._MOST", 1)
    tenancy = Tenancy(Owners())
    await tenancy.check("session", "sesn_a", "a")
    await tenancy.check("session", "sesn_b", "b")
    assert list(tenancy._known) == [("session", "sesn_b")]


def test_no_workspace_is_counted_as_a_key_of_the_settings() -> None:
    assert principal_of("default") == "default"
    assert principal_of("team-a") == "workspace:team-a"
    assert not WORKSPACE.fullmatch("workspace:team-a") and not WORKSPACE.fullmatch("")
