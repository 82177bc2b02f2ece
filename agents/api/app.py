"""``create_app``: the HTTP API over a :class:`Platform`, runnable in any process, with or without Ray."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from agents.access.key_book import KeyBook
from agents.api.access import AccessGuard
from agents.api.acts import Witness
from agents.api.agents import AgentRoutes
from agents.api.api_keys import ApiKeyRoutes
from agents.api.audit import AuditRoutes
from agents.api.audit_custody import AuditCustodyRoutes
from agents.api.audit_export import AuditExportRoutes
from agents.api.audit_verification import AuditVerificationRoutes
from agents.api.auth import Keyring
from agents.api.brains import BrainRoutes
from agents.api.credentials import CredentialRoutes
from agents.api.deployed_sessions import runs_of
from agents.api.deployments import DeploymentRoutes
from agents.api.edge import Edge
from agents.api.environment_keys import EnvironmentKeyRoutes
from agents.api.environments import EnvironmentRoutes
from agents.api.events import EventRoutes
from agents.api.files import FileRoutes
from agents.api.hand_mcp import HandMcpRoutes
from agents.api.hand_releases import HandReleaseRoutes
from agents.api.hands import HandRoutes
from agents.api.http_metrics import HttpMetrics
from agents.api.memories import MemoryRoutes
from agents.api.memory_stores import MemoryStoreRoutes
from agents.api.memory_versions import MemoryVersionRoutes
from agents.api.messages import MessageRoutes
from agents.api.meta import MetaRoutes
from agents.api.metering import MeteringRoutes
from agents.api.models import ModelRoutes
from agents.api.openapi import describe
from agents.api.peers import guard_for
from agents.api.platform import Platform
from agents.api.rate_limits import RateLimits
from agents.api.request_trace import RequestTracing
from agents.api.resource_kinds import resources_of
from agents.api.resources import ResourceRoutes
from agents.api.routes import Operation, routes
from agents.api.secure_headers import SecureHeaders
from agents.api.sessions import SessionRoutes
from agents.api.skills import SkillRoutes
from agents.api.streamed_bodies import StreamedBodies
from agents.api.threads import ThreadRoutes
from agents.api.topology import TopologyRoutes
from agents.api.vaults import VaultRoutes
from agents.api.webhooks import WebhookRoutes
from agents.api.work import WorkRoutes
from agents.api.worker_gate import WorkerGate
from agents.errors import NotFound
from agents.telemetry import catalogue

_LEFT_OUT = re.compile(r"/v1/(messages/batches|dreams|workflows|workflow_runs)(/.*)?")
"""Paths of the API (spec A.11, L) that this server does not have."""


def create_app(platform: Platform) -> FastAPI:
    """Return the application that serves the whole API."""
    book = KeyBook(platform.store.api_keys, platform.clock, seconds=platform.settings.access.key_cache_seconds)
    events, guard = EventRoutes(platform, book), AccessGuard(platform.store.owners)
    witness = Witness(guard.permit, platform.store.audit, platform.clock)
    resources = resources_of(platform)
    # Paths are tried in this order: the busiest first.
    operations: list[Operation] = [
        *events.operations(),
        *SessionRoutes(platform, resources).operations(),
        *ThreadRoutes(platform, events).operations(),
        *ResourceRoutes(platform, resources).operations(),
        *FileRoutes(platform).operations(),
        *AgentRoutes(platform).operations(),
        *EnvironmentRoutes(platform).operations(),
        *WorkRoutes(platform).operations(),
        *EnvironmentKeyRoutes(platform).operations(),
        *VaultRoutes(platform).operations(),
        *CredentialRoutes(platform).operations(),
        *MemoryRoutes(platform).operations(),
        *MemoryVersionRoutes(platform).operations(),
        *MemoryStoreRoutes(platform).operations(),
        *SkillRoutes(platform).operations(),
        *DeploymentRoutes(platform, resources, runs_of(platform)).operations(),
        *MessageRoutes(platform).operations(),
        *ModelRoutes(platform).operations(),
        *BrainRoutes(platform).operations(),
        *MeteringRoutes(platform).operations(),
        *HandRoutes(platform).operations(),
        *HandReleaseRoutes(platform).operations(),
        *TopologyRoutes(platform).operations(),
        *ApiKeyRoutes(platform).operations(),
        *WebhookRoutes(platform).operations(),
        *AuditRoutes(platform).operations(),
        *AuditVerificationRoutes(platform).operations(),
        *AuditCustodyRoutes(platform).operations(),
        *AuditExportRoutes(platform).operations(),
    ]

    @cache
    def description() -> dict[str, Any]:
        return describe(operations, _version())

    operations.extend(MetaRoutes(platform, description).operations())
    # Routes are mounted bare: hot paths parse their own bodies, so FastAPI's per-request machinery has no part in them.
    app = FastAPI(title="Hecaton", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.router.routes.extend(routes([*operations, *HandMcpRoutes(platform).operations()], witness.respond))
    app.router.default = _unknown_path
    app.openapi = description
    app.add_middleware(
        Edge,
        keys=Keyring(platform.settings.principals, book),
        max_body_bytes=platform.settings.gateway.max_body_bytes,
        streamed=StreamedBodies(operations, platform.settings.files),
        max_ongoing_requests=platform.settings.gateway.max_ongoing_requests,
        share=platform.settings.key_share,
        limits=RateLimits(platform.settings.gateway, platform.clock),
        guard=guard_for(platform.settings, platform.clock),
        gate=WorkerGate(operations, platform.store, platform.clock),
        headers=SecureHeaders(hsts_seconds=platform.settings.gateway.hsts_seconds),
        metrics=HttpMetrics(platform.recorder, platform.clock),
    )
    platform.recorder.collect(lambda recorder: recorder.set(catalogue.STREAMS, events.streams))
    if platform.spans is not None:
        app.add_middleware(RequestTracing, spans=platform.spans)
    return app


async def _unknown_path(scope: Scope, receive: Receive, send: Send) -> None:
    del receive, send
    path: str = scope["path"]
    if left_out := _LEFT_OUT.fullmatch(path):
        raise NotFound(f"{path[:200]}: {left_out[1].replace('_', ' ')} are not available on this server")
    raise NotFound(f"there is nothing at {path[:200]}")


def _version() -> str:
    try:
        return version("hecaton")
    except PackageNotFoundError:
        return "0"
