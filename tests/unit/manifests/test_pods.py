"""Pods have the rights that they need and no more, are asked how they are, and end in their own time."""

from __future__ import annotations

from typing import Any

from tests.unit.manifests.kustomize import Object
from tests.unit.manifests.manifests import (
    groups,
    of_kind,
    pod_templates,
    ray_cluster,
    ray_templates,
)


def _breaks_restricted(spec: Object) -> set[str]:
    """Name the rules of the pod security standard "restricted" that a pod breaks."""
    broken: set[str] = set()
    outer = spec.get("securityContext", {})
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        own = container.get("securityContext", {})
        both = {**outer, **own}
        broken |= {"privileged"} if own.get("privileged") else set()
        broken |= set() if own.get("allowPrivilegeEscalation") is False else {"allowPrivilegeEscalation"}
        broken |= set() if own.get("capabilities", {}) == {"drop": ["ALL"]} else {"capabilities"}
        broken |= set() if both.get("runAsNonRoot") and both.get("runAsUser") else {"runAsNonRoot"}
        broken |= set() if both.get("seccompProfile", {}).get("type") == "RuntimeDefault" else {"seccompProfile"}
        broken |= {"procMount"} if own.get("procMount", "Default") != "Default" else set()
        broken |= {"appArmorProfile"} if own.get("appArmorProfile") else set()
    broken |= {name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)}
    allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "secret", "projected"}
    broken |= {"volumes" for volume in spec.get("volumes", []) if not (volume.keys() - {"name"}) <= allowed}
    return broken


def test_only_the_pods_of_hands_may_more_than_the_restricted_standard(overlay: str, objects: list[Object]) -> None:
    broken = {
        name: rules for name, each in pod_templates(objects).items() if (rules := _breaks_restricted(each["spec"]))
    }
    of_a_sandbox = {"seccompProfile", "appArmorProfile", "procMount"}
    of_privilege = {"privileged", "allowPrivilegeEscalation", "capabilities", "seccompProfile"}
    assert broken == {"hands": of_privilege if overlay == "gke-gpu" else of_a_sandbox}


def test_hands_can_make_sandboxes_and_have_a_user_namespace_of_their_own(overlay: str, objects: list[Object]) -> None:
    spec = pod_templates(objects)["hands"]["spec"]
    (container,) = spec["containers"]
    if overlay == "gke-gpu":
        # Who is privileged runs where nothing else does.
        assert "hostUsers" not in spec and spec["nodeSelector"] == {"hecaton/part": "hands"} and spec["tolerations"]
    else:
        # Kubernetes allows /proc without covers only together with a user namespace.
        assert spec["hostUsers"] is False and container["securityContext"]["procMount"] == "Unmasked"


def test_nobody_is_root(objects: list[Object]) -> None:
    for template in pod_templates(objects).values():
        context = template["spec"]["securityContext"]
        assert context["runAsNonRoot"] is True and context["runAsUser"] > 0 and context["runAsGroup"] > 0


def test_only_the_head_has_a_token_for_the_kubernetes_api(objects: list[Object]) -> None:
    accounts = of_kind(objects, "ServiceAccount")
    assert all(account["automountServiceAccountToken"] is False for account in accounts.values())
    with_token = set()
    for name, template in pod_templates(objects).items():
        assert template["spec"]["serviceAccountName"] in accounts
        if template["spec"]["automountServiceAccountToken"]:
            with_token.add(name)
    assert with_token == {"head"}


def _secrets(value: Any, path: str = "") -> list[str]:
    if isinstance(value, list):
        return [found for each in value for found in _secrets(each, path)]
    if isinstance(value, dict):
        return [found for key, each in value.items() for found in _secrets(each, f"{path}.{key}")]
    words = ("password", "secret", "token", "apikey", "api_key", "masterkey")
    named = any(word in path.rpartition(".")[2].lower() for word in words)
    return [path] if named and isinstance(value, str) else []


def test_secrets_are_named_and_never_written_down(objects: list[Object]) -> None:
    assert not of_kind(objects, "Secret")
    referred: set[tuple[str, str]] = set()
    for template in pod_templates(objects).values():
        for container in template["spec"]["containers"]:
            for variable in container.get("env", []):
                if any(word in variable["name"] for word in ("KEY", "PASSWORD", "URL", "AUTH")):
                    reference = variable["valueFrom"]["secretKeyRef"]
                    referred.add((reference["name"], reference["key"]))
    assert referred == {
        ("hecaton-secrets", "api-key"),
        ("hecaton-secrets", "master-key"),
        ("hecaton-secrets", "anthropic-api-key"),
        ("hecaton-postgres", "url"),
        ("hecaton-postgres", "password"),
        ("hecaton-redis", "password"),
    }
    assert [
        found for made in objects for found in _secrets(made) if not found.endswith(".automountServiceAccountToken")
    ] == []


def test_every_container_is_pinned_bounded_and_asked_how_it_is(objects: list[Object]) -> None:
    for template in pod_templates(objects).values():
        for container in template["spec"]["containers"]:
            _, _, tag = container["image"].rpartition(":")
            assert any(digit.isdigit() for digit in tag) and tag != "latest", container["image"]
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]
            assert container["readinessProbe"] and container["livenessProbe"]
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                port = container.get(probe, {}).get("httpGet", {}).get("port")
                assert port is None or isinstance(port, int) or port in ports


def test_ray_nodes_are_asked_for_rays_health_and_envoy_for_the_platforms(objects: list[Object]) -> None:
    from ray._private.ray_constants import DEFAULT_DASHBOARD_AGENT_LISTEN_PORT

    head, *workers = ray_templates(objects).values()
    (container,) = head["spec"]["containers"]
    assert {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")} == {
        "/api/gcs_healthz"
    }
    for worker in workers:
        (container,) = worker["spec"]["containers"]
        for kind in ("startup", "readiness", "liveness"):
            asked = container[f"{kind}Probe"]["httpGet"]
            assert (asked["path"], asked["port"]) == ("/api/local_raylet_healthz", DEFAULT_DASHBOARD_AGENT_LISTEN_PORT)
    (envoy,) = pod_templates(objects)["envoy"]["spec"]["containers"]
    assert envoy["startupProbe"]["httpGet"] == {"path": "/-/readyz", "port": "probes"}
    # A large model needs its time: brains may load for `server.start_seconds`, 900 s.
    assert envoy["startupProbe"]["periodSeconds"] * envoy["startupProbe"]["failureThreshold"] >= 1800


def test_a_budget_never_forbids_to_drain_a_node_for_ever(objects: list[Object]) -> None:
    found = groups(objects)
    budgets = of_kind(objects, "PodDisruptionBudget").values()
    assert budgets
    for budget in budgets:
        chosen = budget["spec"]["selector"]["matchLabels"]
        (component,) = [
            name
            for name, each in pod_templates(objects).items()
            if chosen.items() <= each["metadata"]["labels"].items()
        ]
        if component in found:
            # Pods of another owner than Kubernetes' own: only a whole minAvailable counts.
            assert budget["spec"].keys() >= {"minAvailable"}
            assert 0 < budget["spec"]["minAvailable"] < found[component]["minReplicas"]
        else:
            assert budget["spec"]["maxUnavailable"] == 1


def test_a_node_ends_in_the_time_that_its_parts_may_take(objects: list[Object]) -> None:
    from actors.replica_options import LEAVE_SECONDS
    from agents.brain_settings import BrainDefinition
    from agents.config import Settings

    settings = Settings()
    spec = pod_templates(objects)["hands"]["spec"]
    # A call under way and its checkpoint, or the turn of a harness to its next step.
    assert spec["terminationGracePeriodSeconds"] >= settings.sandbox.tool_timeout_seconds
    assert spec["terminationGracePeriodSeconds"] >= settings.harness.drain_seconds
    if "brains" in groups(objects):
        least = (
            settings.brain.drain_seconds
            + LEAVE_SECONDS
            + BrainDefinition(engine="server", model="m").server.stop_seconds
        )
        assert pod_templates(objects)["brains"]["spec"]["terminationGracePeriodSeconds"] >= least


def test_selectors_choose_the_pods_that_are_meant(objects: list[Object]) -> None:
    labels = {name: each["metadata"]["labels"] for name, each in pod_templates(objects).items()}
    expected = {
        "hecaton": "envoy",
        "hecaton-gateways": "hands",
        "hecaton-postgres": "postgres",
        "hecaton-redis": "redis",
    }
    for name, service in of_kind(objects, "Service").items():
        chosen = [part for part, each in labels.items() if service["spec"]["selector"].items() <= each.items()]
        assert chosen == [expected[name]]
        ports = {port["name"] for port in pod_templates(objects)[chosen[0]]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for kind in ("Deployment", "StatefulSet"):
        for made in of_kind(objects, kind).values():
            assert made["spec"]["selector"]["matchLabels"] == made["spec"]["template"]["metadata"]["labels"]


def test_what_must_survive_is_on_a_volume_of_its_own(objects: list[Object]) -> None:
    for made in of_kind(objects, "StatefulSet").values():
        (claim,) = made["spec"]["volumeClaimTemplates"]
        mounts = made["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
        assert claim["metadata"]["name"] in {mount["name"] for mount in mounts}
        assert made["spec"]["serviceName"] in of_kind(objects, "Service")


def test_the_autoscalers_container_is_bounded_too(objects: list[Object]) -> None:
    options = ray_cluster(objects)["autoscalerOptions"]
    assert options["resources"]["limits"]["memory"] and options["securityContext"]["allowPrivilegeEscalation"] is False
