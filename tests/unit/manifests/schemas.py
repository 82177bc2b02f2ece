"""What manifests are held against: schemas of Kubernetes, KubeRay and Envoy, and types for what has none here."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from pydantic import BaseModel, ConfigDict, Field

_FOLDER = Path(__file__).with_name("schemas")
OLDEST_KUBERNETES, NEWEST_KUBERNETES = "1.33", "1.37"
"""Those that docs/kubernetes.md names, and the newest whose schemas there are."""


# -- KubeRay -----------------------------------------------------------------------------------


@cache
def _ray_service() -> jsonschema.Draft202012Validator:
    text = gzip.decompress((_FOLDER / "rayservice.crd.yaml.gz").read_bytes())
    crd: Any = yaml.load(text, Loader=yaml.CSafeLoader)
    (schema,) = [each["schema"]["openAPIV3Schema"] for each in crd["spec"]["versions"] if each["name"] == "v1"]
    return jsonschema.Draft202012Validator(_closed(schema))


def _closed(schema: Any) -> Any:
    """Return the schema with every object closed: Kubernetes drops what it does not know, and we want to be told."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    named = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if named and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed.setdefault("additionalProperties", False)
    return closed


def faults_of_ray_service(made: Any) -> list[str]:
    """Say what KubeRay's schema does not allow."""
    # The schema leaves metadata open: Kubernetes has its own for it.
    shown = {key: value for key, value in made.items() if key != "metadata"}
    return [f"{error.json_path}: {error.message}" for error in _ray_service().iter_errors(shown)]


# -- Envoy -------------------------------------------------------------------------------------


@cache
def _envoy() -> descriptor_pool.DescriptorPool:
    files = descriptor_pb2.FileDescriptorSet.FromString(gzip.decompress((_FOLDER / "envoy.fds.gz").read_bytes()))
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)  # pyright: ignore[reportAttributeAccessIssue]
    return pool


def envoy_bootstrap(config: Any) -> Any:
    """Parse a bootstrap as Envoy does, extensions included. Raises json_format.ParseError for anything unknown."""
    pool = _envoy()
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("envoy.config.bootstrap.v3.Bootstrap"))
    return json_format.ParseDict(config, kind(), descriptor_pool=pool)


# -- what neither has a schema here --------------------------------------------------------------


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Metadata(_Closed):
    name: str
    namespace: Literal["hecaton"]
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Relabeling(_Closed):
    sourceLabels: list[str] = []
    targetLabel: str | None = None
    regex: str | None = None
    replacement: str | None = None
    action: Literal["replace", "keep", "drop", "labeldrop", "labelkeep"] = "replace"


class _Endpoint(_Closed):
    port: str
    path: str = Field(default="/metrics", pattern="^/")
    scheme: Literal["http", "https"] = "http"
    interval: str | None = Field(default=None, pattern=r"^\d+(ms|s|m)$")
    scrapeTimeout: str | None = Field(default=None, pattern=r"^\d+(ms|s|m)$")
    honorLabels: bool = False
    relabelings: list[_Relabeling] = []
    metricRelabelings: list[_Relabeling] = []


class _Selector(_Closed):
    matchLabels: dict[str, str]


class _Pods(_Closed):
    selector: _Selector
    podMetricsEndpoints: list[_Endpoint] = Field(min_length=1)
    podTargetLabels: list[str] = []
    jobLabel: str | None = None


class PodMonitor(_Closed):
    """monitoring.coreos.com/v1."""

    apiVersion: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PodMonitor"]
    metadata: _Metadata
    spec: _Pods


class _Rule(_Closed):
    expr: str | int
    record: str | None = None
    alert: str | None = None
    keep_firing_for: str | None = None
    for_: str | None = Field(default=None, alias="for")
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _RuleGroup(_Closed):
    name: str
    interval: str | None = None
    rules: list[_Rule] = Field(min_length=1)


class _Groups(_Closed):
    groups: list[_RuleGroup] = Field(min_length=1)


class PrometheusRule(_Closed):
    """monitoring.coreos.com/v1."""

    apiVersion: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PrometheusRule"]
    metadata: _Metadata
    spec: _Groups


class _Matcher(_Closed):
    name: str = Field(min_length=1)
    matchType: Literal["=", "!=", "=~", "!~"]
    value: str


_Duration = Annotated[str, Field(pattern=r"^(\d+d)?(\d+h)?(\d+m)?(\d+s)?$")]


class _Route(_Closed):
    receiver: str
    groupBy: list[str] = []
    groupWait: _Duration | None = None
    groupInterval: _Duration | None = None
    repeatInterval: _Duration | None = None
    matchers: list[_Matcher] = []
    routes: list[_Route] = []


class _Inhibition(_Closed):
    sourceMatch: list[_Matcher]
    targetMatch: list[_Matcher]
    equal: list[str] = []


class _Key(_Closed):
    name: str
    key: str


class _Credentials(_Closed):
    credentials: _Key


class _HttpConfig(_Closed):
    authorization: _Credentials


class _Webhook(_Closed):
    urlSecret: _Key
    sendResolved: bool = True
    httpConfig: _HttpConfig | None = None


class _Receiver(_Closed):
    name: str = Field(min_length=1)
    webhookConfigs: list[_Webhook] = []


class _Alerting(_Closed):
    route: _Route
    inhibitRules: list[_Inhibition] = []
    receivers: list[_Receiver] = Field(min_length=1)


class AlertmanagerConfig(_Closed):
    """monitoring.coreos.com/v1alpha1."""

    apiVersion: Literal["monitoring.coreos.com/v1alpha1"]
    kind: Literal["AlertmanagerConfig"]
    metadata: _Metadata
    spec: _Alerting


class _Draining(_Closed):
    drainingTimeoutSec: int


class _HealthCheck(_Closed):
    type: Literal["HTTP", "HTTPS", "HTTP2"]
    requestPath: str
    port: int
    checkIntervalSec: int
    timeoutSec: int


class _Backend(_Closed):
    timeoutSec: int
    connectionDraining: _Draining
    healthCheck: _HealthCheck


class BackendConfig(_Closed):
    """cloud.google.com/v1."""

    apiVersion: Literal["cloud.google.com/v1"]
    kind: Literal["BackendConfig"]
    metadata: _Metadata
    spec: _Backend


class _Domains(_Closed):
    domains: list[str] = Field(min_length=1)


class ManagedCertificate(_Closed):
    """networking.gke.io/v1."""

    apiVersion: Literal["networking.gke.io/v1"]
    kind: Literal["ManagedCertificate"]
    metadata: _Metadata
    spec: _Domains


TYPED: dict[str, type[BaseModel]] = {
    each.__name__: each for each in (PodMonitor, PrometheusRule, AlertmanagerConfig, BackendConfig, ManagedCertificate)
}
"""Kinds of custom resources, of which these models allow what we use of them."""
