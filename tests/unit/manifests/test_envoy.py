"""Envoy before the gateways: streams are left alone, only what is safe is asked again, limits speak the API's words."""

from __future__ import annotations

import json
import re
from typing import Any, cast
from unittest.mock import MagicMock

import pytest
import yaml

import agents.api.app as api
from agents.api.routes import Operation
from agents.config import Settings
from agents.errors import NotFound, RateLimited, Unavailable
from tests.unit.manifests.kustomize import Object
from tests.unit.manifests.manifests import ROOT, of_kind, pod_templates, rendered, serve_config

_UNSENT = {"connect-failure", "refused-stream"}


@pytest.fixture(scope="module")
def config() -> Object:
    return yaml.safe_load(of_kind(rendered("base"), "ConfigMap")["hecaton-envoy"]["data"]["envoy.yaml"])


@pytest.fixture(scope="module")
def listeners(config: Object) -> dict[str, Object]:
    return {
        each["name"]: each["filter_chains"][0]["filters"][0]["typed_config"]
        for each in config["static_resources"]["listeners"]
    }


@pytest.fixture(scope="module")
def clusters(config: Object) -> dict[str, Object]:
    return {each["name"]: each for each in config["static_resources"]["clusters"]}


@pytest.fixture(scope="module")
def operations() -> list[Operation]:
    """Everything that the API serves."""
    found: list[Operation] = []
    patch = pytest.MonkeyPatch()
    mount = api.routes

    def mounted(served: list[Operation], *more: Any) -> Any:
        found.extend(served)
        return mount(served, *more)

    with patch.context() as patched:
        patched.setattr(api, "routes", mounted)
        api.create_app(cast("Any", MagicMock(settings=Settings())))
    return found


def _route(listener: Object, method: str, path: str) -> Object:
    """Return the first route that matches, as Envoy does; a path is matched whole by a regular expression."""
    (host,) = listener["route_config"]["virtual_hosts"]
    for route in host["routes"]:
        match = route["match"]
        fits = (
            ("prefix" in match and path.startswith(match["prefix"]))
            or match.get("path") == path
            or ("safe_regex" in match and re.fullmatch(match["safe_regex"]["regex"], path) is not None)
        )
        for header in match.get("headers", []):
            assert header["name"] == ":method"
            fits = fits and re.fullmatch(header["string_match"]["safe_regex"]["regex"], method) is not None
        if fits:
            return route
    raise AssertionError(f"no route for {method} {path}")


def _path(operation: Operation) -> str:
    return re.sub(r"\{[^}]+\}", "x-1_y", operation.path)


def test_streams_have_no_end_and_are_not_repeated(listeners: dict[str, Object], operations: list[Operation]) -> None:
    streams = [each for each in operations if each.media_type == "text/event-stream"]
    long = [each for each in operations if each.path in ("/v1/messages", "/hands/{name}/mcp")]
    assert len(streams) == 2 and len(long) == 2
    for operation in (*streams, *long):
        action = _route(listeners["clients"], operation.method, _path(operation))["route"]
        assert (action["timeout"], action["idle_timeout"]) == ("0s", "0s"), operation.path
        assert set(action["retry_policy"]["retry_on"].split(",")) == _UNSENT
    clients = listeners["clients"]
    assert clients["stream_idle_timeout"] == "0s"
    # Anything that would hold an answer, or a body, back.
    assert [each["name"].rpartition(".")[2] for each in clients["http_filters"]] == ["local_ratelimit", "router"]


def test_what_changes_something_is_repeated_only_when_no_gateway_has_seen_it(
    listeners: dict[str, Object], operations: list[Operation]
) -> None:
    for operation in operations:
        route = _route(listeners["clients"], operation.method, _path(operation))
        if "route" not in route:
            continue
        tried = set(route["route"]["retry_policy"]["retry_on"].split(","))
        if operation.method != "GET" or operation.name == "pollWork":
            assert tried == _UNSENT, operation.path
        elif route["name"] == "reads":
            assert tried == {*_UNSENT, "reset-before-request", "retriable-status-codes"}
            assert route["route"]["retry_policy"]["retriable_status_codes"] == [503]
        assert route["route"]["retry_policy"]["num_retries"] <= 3


def test_no_request_ends_before_the_gateway_itself_would_end_it(
    listeners: dict[str, Object], operations: list[Operation]
) -> None:
    settings = Settings()
    for operation in operations:
        action = _route(listeners["clients"], operation.method, _path(operation)).get("route")
        if action is not None and action["timeout"] != "0s":
            waits = settings.gateway.owner_wait_seconds + settings.vaults.token_timeout_seconds + 60
            assert float(action["timeout"].removesuffix("s")) >= waits


def test_figures_and_insides_are_not_for_clients(listeners: dict[str, Object]) -> None:
    for path in ("/metrics", "/metrics/", "/-/readyz", "/-/readyz/"):
        answer = _route(listeners["clients"], "GET", path)["direct_response"]
        assert answer["status"] == NotFound.http_status
        assert json.loads(answer["body"]["inline_string"])["error"]["type"] == NotFound.code
    assert "route" in _route(listeners["clients"], "GET", "/-/healthz")
    # Else another spelling of the path would pass.
    assert listeners["clients"]["normalize_path"] is listeners["clients"]["merge_slashes"] is True
    assert listeners["clients"]["path_with_escaped_slashes_action"] == "REJECT_REQUEST"


def test_the_inner_port_has_what_kubelet_and_prometheus_ask_for(listeners: dict[str, Object]) -> None:
    (envoy,) = pod_templates(rendered("gke-gpu"))["envoy"]["spec"]["containers"]
    asked = {envoy[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
    monitor = of_kind(rendered("gke-gpu"), "PodMonitor")["hecaton"]
    asked |= {endpoint["path"] for endpoint in monitor["spec"]["podMetricsEndpoints"]}
    (host,) = listeners["probes"]["route_config"]["virtual_hosts"]
    assert {route["match"]["path"] for route in host["routes"]} == asked
    assert _route(listeners["probes"], "GET", "/-/readyz")["route"]["cluster"] == "gateways"
    assert _route(listeners["probes"], "GET", "/ready")["route"]["cluster"] == "admin"


def test_paths_that_are_asked_for_are_those_of_the_gateway(
    clusters: dict[str, Object], operations: list[Operation]
) -> None:
    open_to_all = {each.path for each in operations if each.method == "GET"}
    (check,) = clusters["gateways"]["health_checks"]
    assert check["http_health_check"]["path"] in open_to_all
    assert {"/metrics", "/-/readyz", "/-/healthz"} <= open_to_all
    backend = of_kind(rendered("gke-gpu"), "BackendConfig")["hecaton"]["spec"]
    assert backend["healthCheck"]["requestPath"] in open_to_all
    # As long as a stream may be.
    assert backend["timeoutSec"] >= 24 * 3600
    dockerfile = (ROOT / "cluster" / "image" / "Dockerfile").read_text()
    assert re.findall(r"127\.0\.0\.1:(\d+)(/[^\"]+)", dockerfile) == [(str(Settings().port), "/-/healthz")]


def test_ports_are_those_of_the_pods(config: Object, clusters: dict[str, Object], objects: list[Object]) -> None:
    listening = {
        each["name"]: each["address"]["socket_address"]["port_value"]
        for each in config["static_resources"]["listeners"]
    }
    (envoy,) = pod_templates(objects)["envoy"]["spec"]["containers"]
    assert {port["name"]: port["containerPort"] for port in envoy["ports"]} == {
        "http": listening["clients"],
        "probes": listening["probes"],
    }
    (place,) = clusters["gateways"]["load_assignment"]["endpoints"][0]["lb_endpoints"]
    address = place["endpoint"]["address"]["socket_address"]
    service = of_kind(objects, "Service")[address["address"]]["spec"]
    assert service["clusterIP"] == "None" and service["publishNotReadyAddresses"] is True
    assert service["ports"][0]["port"] == address["port_value"] == serve_config(objects)["http_options"]["port"]
    # Nobody but Envoy itself reaches the port that can end it.
    assert config["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"


@pytest.mark.parametrize(("status", "fault"), [(429, RateLimited), (503, Unavailable), (504, Unavailable)])
def test_what_envoy_answers_itself_is_in_the_apis_form(listeners: dict[str, Object], status: int, fault: type) -> None:
    (mapper,) = [
        each
        for each in listeners["clients"]["local_reply_config"]["mappers"]
        for comparison in [each["filter"]["status_code_filter"]["comparison"]]
        if (comparison["op"] == "EQ") == (status == comparison["value"]["default_value"])
        and (comparison["op"] == "EQ" or status >= comparison["value"]["default_value"])
    ]
    told = mapper["body_format_override"]["json_format"]
    assert told["type"] == "error" and told["error"]["type"] == fault.code and told["error"]["message"]
    assert mapper["body_format_override"]["content_type"] == "application/json"
    (limit,) = [each for each in listeners["clients"]["http_filters"] if "ratelimit" in each["name"]]
    headers = mapper.get("headers_to_add") or limit["typed_config"]["response_headers_to_add"]
    assert [each["header"]["key"] for each in headers] == ["retry-after"]


def test_the_rate_limit_is_on_and_lets_through_what_two_gateways_can_do(listeners: dict[str, Object]) -> None:
    (limit,) = [each["typed_config"] for each in listeners["clients"]["http_filters"] if "ratelimit" in each["name"]]
    for switch in ("filter_enabled", "filter_enforced"):
        assert limit[switch]["default_value"] == {"numerator": 100, "denominator": "HUNDRED"}
    bucket = limit["token_bucket"]
    assert bucket["tokens_per_fill"] / float(bucket["fill_interval"].removesuffix("s")) >= 500


def test_all_streams_of_all_gateways_fit_through(config: Object, clusters: dict[str, Object]) -> None:
    settings = yaml.safe_load(of_kind(rendered("gke-gpu"), "ConfigMap")["hecaton-settings"]["data"]["hecaton.yaml"])
    streams = settings["gateway"]["replicas"] * Settings().gateway.max_streams
    (bounds,) = clusters["gateways"]["circuit_breakers"]["thresholds"]
    (monitor,) = config["overload_manager"]["resource_monitors"]
    assert streams <= min(bounds["max_connections"], bounds["max_requests"])
    assert streams <= monitor["typed_config"]["max_active_downstream_connections"]


def test_a_gateway_that_says_503_is_kept_for_no_other_could_say_more(clusters: dict[str, Object]) -> None:
    found = clusters["gateways"]["outlier_detection"]
    assert found["split_external_local_origin_errors"] is True
    assert found["enforcing_consecutive_5xx"] == found["enforcing_consecutive_gateway_failure"] == 0
    assert clusters["gateways"]["common_lb_config"]["healthy_panic_threshold"] == {"value": 0}
