"""What stands before every handler: does the caller's scope open the operation, is the object the caller's?

One place for all operations, asked by the route that was matched: an operation that is added later is guarded by what
its path and method say, without a line of its own.
"""

from __future__ import annotations

from starlette.types import Scope

from agents.access.records import Owners
from agents.access.scopes import KeyScope, allows
from agents.access.tenancy import Tenancy
from agents.api.auth import OPEN_PATHS, Access
from agents.api.routes import Operation
from agents.errors import PermissionDenied


class AccessGuard:
    """Lets requests through to the operations that are theirs, and to the objects of their workspace."""

    def __init__(self, owners: Owners) -> None:
        self._tenancy = Tenancy(owners)

    async def permit(self, operation: Operation, scope: Scope) -> None:
        """Raise PermissionDenied (scope), NotFound (another workspace's object), Unavailable."""
        state = scope["state"]
        # Workers' credentials are let in by the WorkerGate, operation by operation and object by object.
        if scope["path"] in OPEN_PATHS or state["worker"] is not None:
            return
        access: Access = state["access"]
        if not allows(access.scope, operation.scope, for_workers=operation.for_environment_keys):
            raise PermissionDenied(
                f"this needs an API key with the scope {operation.scope.value}; this one has {access.scope.value}",
                details={"required_scope": operation.scope.value, "scope": access.scope.value},
            )
        if not operation.of_operators:
            await self._tenancy.check_path(scope["path_params"], access.workspace_id)


def acts_for_worker(scope: Scope) -> bool:
    """Whether the caller is a worker of an environment, by its own credential or by a key of that scope."""
    state = scope["state"]
    return state["worker"] is not None or state["access"].scope is KeyScope.ENVIRONMENT
