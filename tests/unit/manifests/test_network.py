"""Who may talk to whom: everything that the platform needs is let through, and what a sandbox must not reach is not."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from agents.hands.egress.gate import PROXY_URL
from agents.net import addresses
from tests.unit.manifests.kustomize import Object
from tests.unit.manifests.manifests import of_kind, pod_templates, ray_cluster, ray_templates, settings_text

_DNS = ({"kubernetes.io/metadata.name": "kube-system"}, {"k8s-app": "kube-dns"})
_OPERATOR = ({"kubernetes.io/metadata.name": "kuberay"}, {"app.kubernetes.io/name": "kuberay-operator"})
_STRANGER = ({"kubernetes.io/metadata.name": "default"}, {"app": "other"})
_METRICS = {"metrics", "as-metrics", "dash-metrics"}
_OURS = {"kubernetes.io/metadata.name": "hecaton"}


@dataclass(frozen=True)
class _Network:
    """Kubernetes' rules: a pod that any policy chooses may do what one of them lets it, and no more."""

    objects: list[Object]

    def _policies(self, component: str, direction: str) -> list[Object]:
        labels = pod_templates(self.objects)[component]["metadata"]["labels"]
        specs = [policy["spec"] for policy in of_kind(self.objects, "NetworkPolicy").values()]
        return [spec for spec in specs if direction in spec["policyTypes"] and _chosen(spec["podSelector"], labels)]

    def _let(self, component: str, direction: str, peer: Any, port: int, protocol: str) -> bool:
        rules = [rule for spec in self._policies(component, direction) for rule in spec.get(direction.lower(), [])]
        assert self._policies(component, direction), f"nothing holds {component} back"
        key = "from" if direction == "Ingress" else "to"
        return any(_port(rule, port, protocol) and _peer(rule.get(key), peer) for rule in rules)

    def pod(self, source: str, target: str, port: int) -> bool:
        """Whether one of our pods may open a connection to another: both ends must allow it."""
        ends = [(_OURS, pod_templates(self.objects)[name]["metadata"]["labels"]) for name in (source, target)]
        out = self._let(source, "Egress", ends[1], port, "TCP")
        return out and self._let(target, "Ingress", ends[0], port, "TCP")

    def out(self, source: str, peer: Any, port: int, protocol: str = "TCP") -> bool:
        """Whether a pod may go to a stranger (namespace's and pod's labels) or an address."""
        return self._let(source, "Egress", peer, port, protocol)

    def into(self, target: str, peer: Any, port: int) -> bool:
        return self._let(target, "Ingress", peer, port, "TCP")


def _chosen(selector: Object, labels: dict[str, str]) -> bool:
    exact = selector.get("matchLabels", {}).items() <= labels.items()
    for each in selector.get("matchExpressions", []):
        assert each["operator"] == "In"
        exact = exact and labels.get(each["key"]) in each["values"]
    return exact


def _port(rule: Object, port: int, protocol: str) -> bool:
    ports = rule.get("ports")
    return ports is None or any((each["protocol"], each["port"]) == (protocol, port) for each in ports)


def _peer(allowed: list[Object] | None, peer: Any) -> bool:
    if allowed is None:
        return True
    if isinstance(peer, str):
        address = ipaddress.ip_address(peer)
        blocks = [each["ipBlock"] for each in allowed if "ipBlock" in each]
        return any(
            address in ipaddress.ip_network(block["cidr"])
            and not any(address in ipaddress.ip_network(out) for out in block.get("except", []))
            for block in blocks
        )
    namespace, labels = peer
    pods = [each for each in allowed if "ipBlock" not in each]
    return any(
        (_chosen(each["namespaceSelector"], namespace) if "namespaceSelector" in each else namespace == _OURS)
        and _chosen(each.get("podSelector", {}), labels)
        for each in pods
    )


@pytest.fixture
def network(objects: list[Object]) -> _Network:
    return _Network(objects)


@pytest.fixture
def ray_nodes(objects: list[Object]) -> list[str]:
    return list(ray_templates(objects))


def _serve_port(objects: list[Object]) -> int:
    return yaml.safe_load(settings_text(objects))["port"]


def test_everything_is_denied_that_no_policy_allows(objects: list[Object]) -> None:
    deny = of_kind(objects, "NetworkPolicy")["default-deny"]["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_rays_nodes_reach_each_other_at_every_port(network: _Network, ray_nodes: list[str]) -> None:
    # GCS, dashboard, its agent, and ports that are chosen when a process starts: raylets, workers, links, replicas.
    for source in ray_nodes:
        for target in ray_nodes:
            assert all(network.pod(source, target, port) for port in (6379, 8265, 10001, 52365, 30000, 41234))


def test_each_part_reaches_what_it_works_with(network: _Network, objects: list[Object], ray_nodes: list[str]) -> None:
    assert network.pod("envoy", "hands", _serve_port(objects))
    # Serve builds applications on any node, and those of hands read the database.
    assert all(network.pod(name, "postgres", 5432) for name in ray_nodes)
    assert network.pod("head", "redis", 6379)
    assert network.into("envoy", "203.0.113.7", 8080)
    for name in pod_templates(objects):
        assert network.out(name, _DNS, 53, "UDP") and network.out(name, _DNS, 53)
    # KubeRay hands over the applications and looks whether they are served.
    assert network.into("head", _OPERATOR, 8265) and network.into("head", _OPERATOR, _serve_port(objects))
    # The autoscaler asks the Kubernetes API, whatever address it has.
    assert network.out("head", "10.96.0.1", 443) and network.out("head", "34.90.1.2", 443)


def test_prometheus_reaches_what_the_pod_monitors_name(objects: list[Object], network: _Network) -> None:
    monitors = of_kind(objects, "PodMonitor")
    prometheus = ({"kubernetes.io/metadata.name": "monitoring"}, {"app.kubernetes.io/name": "prometheus"})
    reached: set[str] = set()
    for monitor in monitors.values():
        chosen = monitor["spec"]["selector"]["matchLabels"]
        for name, template in pod_templates(objects).items():
            ports = {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
            for endpoint in monitor["spec"]["podMetricsEndpoints"]:
                if chosen.items() <= template["metadata"]["labels"].items() and endpoint["port"] in ports:
                    assert network.into(name, prometheus, ports[endpoint["port"]])
                    reached.add(endpoint["port"])
    assert reached == ({"probes", *_METRICS} if monitors else set())


def test_traces_reach_a_collector_where_prometheus_is(overlay: str, network: _Network, ray_nodes: list[str]) -> None:
    collector = ({"kubernetes.io/metadata.name": "monitoring"}, {"app.kubernetes.io/name": "opentelemetry-collector"})
    for name in ray_nodes:
        assert network.out(name, collector, 4318) is (overlay == "gke-gpu")
        assert not network.out(name, _STRANGER, 4318)


def test_every_port_of_a_pod_is_one_that_somebody_may_reach(network: _Network, objects: list[Object]) -> None:
    for name, template in pod_templates(objects).items():
        for container in template["spec"]["containers"]:
            for port in container["ports"]:
                if port["name"] in {"probes", *_METRICS}:
                    continue  # Prometheus, where it is: components/monitoring
                number = port["containerPort"]
                others = [other for other in pod_templates(objects) if network.pod(other, name, number)]
                assert others or network.into(name, "203.0.113.7", number), (name, port)


def test_hands_reach_public_addresses_on_the_ports_of_the_guard_and_nothing_private(
    network: _Network, objects: list[Object]
) -> None:
    settings: Object = yaml.safe_load(settings_text(objects))
    public = of_kind(objects, "NetworkPolicy")["hands-to-public"]["spec"]
    assert [each["port"] for rule in public["egress"] for each in rule["ports"]] == settings["network"]["ports"]
    for port in settings["network"]["ports"]:
        assert network.out("hands", "93.184.215.14", port)
        assert network.out("hands", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", port)
    private = ["10.0.0.1", "172.20.1.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "127.0.0.1", "0.0.0.0"]
    private += ["fd00::1", "fe80::1", "::1"]
    for address in private:
        assert not any(network.out("hands", address, port) for port in (53, 80, 443, 6443, 8080)), address
    assert not network.out("hands", "93.184.215.14", 22)


def test_what_the_policy_takes_for_private_is_what_the_guard_takes_for_it(objects: list[Object]) -> None:
    (rule,) = of_kind(objects, "NetworkPolicy")["hands-to-public"]["spec"]["egress"]
    four, six = [each["ipBlock"] for each in rule["to"]]
    assert six["cidr"] == str(addresses._PUBLIC_V6)
    within = {text for text in addresses._SPECIAL_V6 if ipaddress.IPv6Network(text).subnet_of(addresses._PUBLIC_V6)}
    assert set(six["except"]) == within
    assert set(four["except"]) == {*addresses._SPECIAL_V4, "168.63.129.16/32"}
    for cidr in (*four["except"], *six["except"]):
        assert addresses.refusal_of(ipaddress.ip_network(cidr)[-1]), cidr


def test_the_proxy_of_a_sandbox_is_inside_of_it_and_no_address_of_the_cluster() -> None:
    # So no policy has to name it: what it may reach is what the pod of its host may.
    assert ipaddress.ip_address(PROXY_URL.split("//")[1].split(":")[0]).is_loopback


def test_nobody_reaches_what_is_not_theirs(network: _Network, objects: list[Object], ray_nodes: list[str]) -> None:
    for source in pod_templates(objects):
        if source != "head":
            assert not network.pod(source, "redis", 6379), source
            assert not network.out(source, "10.96.0.1", 443), source
        if source not in ray_nodes:
            assert not network.pod(source, "postgres", 5432), source
    # Both ends must let a connection be; here the nearer one alone, should the other be opened one day.
    for target, port, sources in (("postgres", 5432, {*ray_nodes}), ("redis", 6379, {"head"})):
        labels = {name: each["metadata"]["labels"] for name, each in pod_templates(objects).items()}
        assert {name for name, each in labels.items() if network.into(target, (_OURS, each), port)} == sources
    for target in pod_templates(objects):
        for port in (22, 5432, 6379, 8265, 8123, 10001, 52365):
            assert not network.into(target, _STRANGER, port), (target, port)
    for name in ("postgres", "redis", "envoy", "brains"):
        if name in pod_templates(objects):
            assert not network.out(name, "93.184.215.14", 443)
    assert not any(network.out(name, "169.254.169.254", 80) for name in pod_templates(objects))


def test_the_gcs_is_where_the_policy_and_kuberay_think(objects: list[Object]) -> None:
    from ray._private.ray_constants import DEFAULT_PORT
    from ray.autoscaler._private.constants import AUTOSCALER_METRIC_PORT
    from ray.dashboard.consts import DASHBOARD_METRIC_PORT

    (container,) = ray_cluster(objects)["headGroupSpec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports["gcs-server"] == DEFAULT_PORT and ports["serve"] == _serve_port(objects)
    assert (ports["as-metrics"], ports["dash-metrics"]) == (AUTOSCALER_METRIC_PORT, DASHBOARD_METRIC_PORT)
