"""Everything one run stands on: database, Ray cluster and platform, in a scratch directory of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import psutil
import yaml

from agents.config import Settings
from agents.ports import free_port
from agents.vaults.settings import KEY_BYTES
from tests.chaos.api import KEY
from tests.chaos.cluster import ROOT, ClusterProcess, ray_environment
from tests.chaos.options import Options
from tests.chaos.parts import Part, living
from tests.chaos.schedule import LEASE_SECONDS
from tests.chaos.script import HAND
from tests.contract.postgres_server import PostgresServer

# What is acknowledged must survive a crash of the server: no short cuts here.
_POSTGRES = "-c fsync=on -c shared_buffers=64MB -c max_connections=100"
_READY = re.compile(r"^ready (http://\S+)$", re.MULTILINE)
_READY_SECONDS = 180.0
_DOWN_SECONDS = 120.0
_ROLL_SECONDS = 300.0
_LOOK_SECONDS = 0.1
_CPUS = 2
_WORKER_SESSIONS = 32
_MASTER_KEY = b64encode(b"k" * KEY_BYTES).decode()
"""What the secret of the webhook is sealed with: no secret here."""


class Site:
    """Starts all, names the parts, takes all down. Its methods block: call them off the event loop."""

    def __init__(self, options: Options) -> None:
        self.options = options
        # Short, for Ray puts sockets below it, whose paths may have 107 characters.
        self.scratch = Path(tempfile.mkdtemp(prefix="hc-"))
        self.scratch.chmod(0o755)  # sandboxes have users of their own, who must pass through
        self.data_dir = self.scratch / "data"
        self.postgres: PostgresServer | None = None
        self.raylets: dict[str, int] = {}
        self.url = ""
        self.database_url = ""
        self._hand: dict[str, Any] = {}
        self._platform: subprocess.Popen[bytes] | None = None
        self._cluster: ClusterProcess | None = None
        self._names: dict[int, str] = {}

    # -- start -----------------------------------------------------------------------------------

    def start(self, plan: dict[str, Any], port: int) -> None:
        """Bring everything up with *plan* as what the brains say; returns when the platform is ready.

        *port* is where the hand feels effects.
        """
        self._hand = {
            "server": f"{ROOT / 'tests/chaos/effect_hand.py'}:server",
            "runtime_env": {"env_vars": {"EFFECT_PORT": str(port)}},
            "max_replicas": 2,
            "idle_seconds": 5.0,
        }
        (self.scratch / "plan.yaml").write_text(yaml.safe_dump(plan), encoding="utf-8")
        if self.options.store == "postgresql":
            self.postgres = PostgresServer(_POSTGRES)
            self.postgres.start()
            self.database_url = self.postgres.new_database()
        settings = self._settings()
        self._cluster = ClusterProcess(self.scratch, settings, head_cpus=0)
        self.raylets = self._cluster.add("gpu-0", cpus=_CPUS, gpus=1)
        for number in range(self.options.cpu_nodes):
            self.raylets = self._cluster.add(f"cpu-{number}", cpus=_CPUS)
        self._start_platform(settings)

    def _settings(self) -> Settings:
        options = self.options
        return Settings.model_validate(
            {
                "data_dir": self.data_dir,
                "port": free_port(),
                "api_key": KEY,
                "database_url": self.database_url or None,
                "harness": {"actors": options.harnesses},
                "gateway": {"replicas": options.gateways},
                "brain": {
                    "engine": "replay",
                    "replay_plan": self.scratch / "plan.yaml",
                    "replicas": options.brains,
                },
                "sandbox": {"hosts": options.hosts},
                "hands": {HAND: self._hand},
                "workers": {"lease_seconds": LEASE_SECONDS},
                "network": {"allow_private": ["127.0.0.0/8"]},  # effects are felt on this machine
            }
        )

    def _start_platform(self, settings: Settings) -> None:
        assert self._cluster is not None
        secrets: dict[str, Any] = {"api_key": KEY, "vaults": {"master_key": _MASTER_KEY}}
        if self.database_url:
            secrets["database_url"] = self.database_url
        config = self.scratch / "hecaton.yaml"
        config.write_text(yaml.safe_dump({**settings.model_dump(mode="json", exclude_none=True), **secrets}))
        environment = {**ray_environment(settings), "RAY_ADDRESS": self._cluster.address}
        with self.log.open("wb") as log:
            self._platform = subprocess.Popen(
                [sys.executable, "-m", "agents.cli", "up", "--config", str(config)],
                cwd=self.scratch,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        self.url = self._wait_ready()

    @property
    def log(self) -> Path:
        return self.scratch / "platform.log"

    def _wait_ready(self) -> str:
        assert self._platform is not None
        end = time.monotonic() + _READY_SECONDS
        while time.monotonic() < end:
            said = self.log.read_text(encoding="utf-8", errors="replace")
            if found := _READY.search(said):
                return found[1]
            if self._platform.poll() is not None:
                break
            time.sleep(_LOOK_SECONDS)
        raise RuntimeError(f"the platform did not become ready:\n{self.log.read_text()[-3000:]}")

    # -- life ------------------------------------------------------------------------------------

    def parts(self) -> list[Part]:
        """Return the platform's living processes; actors have their names."""
        assert self._cluster is not None
        self._names = self._cluster.actors()
        return living(self._names)

    def remove_node(self, name: str, *, graceful: bool) -> None:
        assert self._cluster is not None
        self.raylets = self._cluster.remove(name, graceful=graceful)

    def add_node(self, name: str) -> None:
        assert self._cluster is not None
        self.raylets = self._cluster.add(name, cpus=_CPUS, gpus=1 if name.startswith("gpu") else 0)

    def processes_of(self, node: str) -> list[psutil.Process]:
        """Return a node's raylet and everything below it."""
        raylet = psutil.Process(self.raylets[node])
        return [raylet, *raylet.children(recursive=True)]

    def roll(self, part: str) -> int:
        """Replace a part's processes one by one, as an operator does who has a new release; returns the status."""
        command = [sys.executable, "-m", "agents.cli", "roll", part, "--data-dir", str(self.data_dir)]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HECATON_", "RAY_"))}
        with (self.scratch / "roll.log").open("ab") as log:
            done = subprocess.run(
                command,
                cwd=self.scratch,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**kept, "PYTHONPATH": str(ROOT)},
                timeout=_ROLL_SECONDS,
                check=False,
            )
        return done.returncode

    def start_worker(self, environment: str, key: str) -> subprocess.Popen[bytes]:
        """Serve a self-hosted environment with sandboxes of this machine; a later one takes an earlier one's place."""
        arguments = ["--environment-id", environment, "--base-url", self.url, "--unrestricted", "--max-idle", "1"]
        more = ["--concurrency", str(_WORKER_SESSIONS), "--data-dir", str(self.scratch / "worker")]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HECATON_", "ANTHROPIC_"))}
        opened = {"HECATON_NETWORK__ALLOW_PRIVATE": '["127.0.0.0/8"]', "ANTHROPIC_ENVIRONMENT_KEY": key}
        with (self.scratch / "worker.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "agents.cli", "worker", *arguments, *more],
                cwd=self.scratch,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**kept, **opened, "PYTHONPATH": str(ROOT)},
            )

    # -- end -------------------------------------------------------------------------------------

    def stop_platform(self) -> int:
        """End the platform as an operator would; returns its exit status (-9 when it had to be killed)."""
        if self._platform is None:
            return 0
        process, self._platform = self._platform, None
        process.terminate()
        try:
            return process.wait(_DOWN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait(10)

    def stop_rest(self) -> None:
        """End cluster and database."""
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None
        if self.postgres is not None:
            self.postgres.remove()
            self.postgres = None

    def remove(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)
