"""All of an operator's installation at once, on one machine: what runs, what it keeps, and who watches it.

Ray on a head that keeps its state in Redis and on three more nodes, one with a GPU (which is none) for the brains;
PostgreSQL; ``hecaton up`` on them; Prometheus with our rules, which scrapes the proxy, each gateway and Ray's nodes; an
OpenTelemetry receiver. Models are the stub's.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from tests.chaos.cluster import ray_environment
from tests.cluster.instance import Instance, UpProcess
from tests.cluster.lasting_head import LastingHead, Node, lasting_head
from tests.cluster.prometheus_server import Prometheus, prometheus_of
from tests.conformance.platform import LivePlatform, settings_for
from tests.conformance.scene import Json
from tests.contract.postgres_server import PostgresServer
from tests.open_directory import open_directory
from tests.otlp_receiver import receiver
from tests.stub_model import stub_in_thread

NODES = (Node(cpus=1, gpus=1), Node(cpus=2), Node(cpus=2))
GATEWAYS = 2
HARNESSES = 2
SECOND = {"input_mtok": 0.35, "output_mtok": 1.7}
"""What the second brain asks for a million tokens, USD; the first has the list price."""
AS_NICE = {"RAY_worker_niceness": "0"}
"""Ray's workers give way to everybody by default: on a machine where others work they would hardly start."""
_SECONDS = 300.0
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class LiveStack:
    """The parts, while they are up."""

    scratch: Path
    cluster: LastingHead
    postgres: PostgresServer
    database_url: str
    instance: Instance
    platform: LivePlatform
    prometheus: Prometheus
    gateways: tuple[str, ...]
    """``HOST:PORT`` of each gateway itself, behind the proxy."""

    def kinds_by_node(self) -> list[set[str]]:
        """Return what runs on each node: words of the processes' names, such as ``HarnessActor``."""
        found: list[set[str]] = []
        for raylet in (each for each in self.cluster.processes() if each.name() == "raylet"):
            lines = [_line(each) for each in raylet.children()]
            found.append({word for word in _PARTS for line in lines if word in line})
        return found


_PARTS = ("HarnessActor", "SandboxHostActor", "ServeReplica:hecaton-brain", "ServeReplica:hecaton-hand")


def settings_of(stub_url: str) -> Json:
    """Return what is set beyond the suite's settings: two brains on the GPU, two of each other part."""

    def brain(**more: object) -> Json:
        return {"engine": "claude", "base_url": stub_url, "resources": {"num_gpus": 0.5}, **more}

    return {
        "gateway": {"replicas": GATEWAYS},
        "harness": {"actors": HARNESSES},
        "sandbox": {"hosts": 2},
        "brains": {"main": brain(), "second": brain(model="of-the-second", price=SECOND)},
    }


@contextmanager
def live_stack() -> Iterator[LiveStack]:
    """Bring everything up, and leave nothing behind."""
    with ExitStack() as stack:
        scratch = stack.enter_context(open_directory("hl-"))
        stub = stack.enter_context(stub_in_thread(keep=4000))
        traces = stack.enter_context(receiver())
        postgres = PostgresServer()
        stack.callback(postgres.remove)
        postgres.start()
        url = postgres.new_database()
        environment = {**ray_environment(settings_for(scratch, stub.url)), "RAY_AUTH_MODE": "disabled", **AS_NICE}
        cluster = stack.enter_context(lasting_head(environment, NODES))
        instance = Instance(
            scratch / "data",
            stub.url,
            environment={
                **environment,
                "RAY_ADDRESS": f"127.0.0.1:{cluster.gcs}",
                "HECATON_DATABASE_URL": url,
                "HECATON_TELEMETRY__TRACES__ENDPOINT": traces.url,
            },
            **settings_of(stub.url),
        )
        stack.enter_context(_ended(instance))
        platform = LivePlatform(instance.up(_SECONDS), stub, traces=traces)
        stack.callback(stub.release, "*")
        gateways = _gateways(cluster)
        targets = [platform.url.removeprefix("http://"), *gateways]
        discovery = cluster.place / "prom_metrics_service_discovery.json"
        (scratch / "prometheus").mkdir()
        prometheus = stack.enter_context(prometheus_of(scratch / "prometheus", targets, ray=discovery))
        yield LiveStack(scratch, cluster, postgres, url, instance, platform, prometheus, gateways)


@contextmanager
def restored_up(stack: LiveStack, data_dir: Path, database_url: str, port: int) -> Iterator[UpProcess]:
    """Start what a backup of the stack was restored to: on a Ray of its own, on a machine without a GPU.

    The settings are those of the backup; given anew are secrets and what differs on this machine.
    """
    options = ("--config", str(data_dir / "settings.yaml"), "--data-dir", str(data_dir), "--port", str(port))
    given = {"HECATON_DATABASE_URL": database_url, "HECATON_API_KEY": stack.platform.key}
    given |= AS_NICE | {f"HECATON_BRAINS__{brain}__RESOURCES__NUM_GPUS": "0" for brain in ("MAIN", "SECOND")}
    instance = UpProcess(data_dir, *options, environment=given)
    with _ended(instance):
        instance.up(_SECONDS)
        yield instance


@contextmanager
def _ended(instance: UpProcess) -> Iterator[None]:
    try:
        yield
    finally:
        status = instance.down()
    assert status == 0, instance.output()


def _gateways(cluster: LastingHead) -> tuple[str, ...]:
    """Return the addresses of the gateways' replicas, once all are there: those of their ports that tell metrics."""
    end = time.monotonic() + _SECONDS
    while len(found := [port for each in cluster.processes() for port in _metrics_ports(each)]) < GATEWAYS:
        assert time.monotonic() < end, f"of {GATEWAYS} gateways these tell metrics: {found}"
        time.sleep(_LOOK_SECONDS)
    return tuple(f"127.0.0.1:{port}" for port in sorted(found))


def _metrics_ports(process: psutil.Process) -> list[int]:
    if "ServeReplica:hecaton-gateway" not in _line(process):
        return []
    with contextlib.suppress(psutil.NoSuchProcess):
        listening = {each.laddr.port for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
        return [port for port in listening if _tells_metrics(port)]
    return []


def _tells_metrics(port: int) -> bool:
    try:
        return "hecaton_sessions" in httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    except httpx.HTTPError:
        return False  # another of its services


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
