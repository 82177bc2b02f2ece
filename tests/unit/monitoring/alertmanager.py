"""A running Alertmanager with our configuration, in a hurry, whose receivers are in this process."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml

from agents.ports import free_port

PATIENCE_SECONDS = 20.0
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Told:
    """What a receiver was sent."""

    receiver: str
    authorization: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """One that is up; ``told`` has what its receivers were sent."""

    client: httpx.Client
    told: queue.Queue[Told] = field(default_factory=queue.Queue)

    def fire(self, *alerts: Mapping[str, str]) -> None:
        """Have alerts with these labels, as Prometheus tells them."""
        self.client.post("alerts", json=[{"labels": dict(labels)} for labels in alerts]).raise_for_status()

    def held_back(self, least: int) -> list[dict[str, str]]:
        """Return the labels of those that others keep from being told, once there are so many or time is up."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = [alert["labels"] for alert in self._alerts() if alert["status"]["inhibitedBy"]]
            if len(found) >= least or time.monotonic() > end:
                return found
            time.sleep(_LOOK_SECONDS)

    def receivers(self) -> dict[str, list[str]]:
        """Return whom each alert goes to, by name."""
        return {alert["labels"]["alertname"]: [each["name"] for each in alert["receivers"]] for alert in self._alerts()}

    def _alerts(self) -> list[dict[str, Any]]:
        return self.client.get("alerts").raise_for_status().json()


@contextmanager
def alertmanager(source: Path, folder: Path) -> Iterator[Alertmanager]:
    """Run one with the configuration of a file, but with receivers of our own, tokens in *folder*, and no pauses."""
    address = f"127.0.0.1:{free_port()}"
    with httpx.Client(base_url=f"http://{address}/api/v2/", timeout=10) as client:
        made = Alertmanager(client)
        with _receivers(made.told) as url:
            config = _hurried(yaml.safe_load(source.read_text(encoding="utf-8")), url, folder)
            (folder / "alertmanager.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
            command = ["prometheus-alertmanager", f"--config.file={folder}/alertmanager.yml"]
            command += [f"--storage.path={folder}", f"--web.listen-address={address}", "--cluster.listen-address="]
            with (folder / "log").open("w") as log:
                process = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                _wait_ready(client, process, folder / "log")
                yield made
            finally:
                process.terminate()
                process.wait(PATIENCE_SECONDS)


def _hurried(config: Any, url: str, folder: Path) -> Any:
    for route in (config["route"], *config["route"]["routes"]):
        route["group_wait"] = "0s"
    for receiver in config["receivers"]:
        for hook in receiver.get("webhook_configs", ()):
            token = folder / f"{receiver['name']}-token"
            token.write_text(f"token of {receiver['name']}")
            hook["url"] = f"{url}/{receiver['name']}"
            hook["http_config"]["authorization"]["credentials_file"] = str(token)
    return config


def _wait_ready(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        assert process.poll() is None and time.monotonic() < end, log.read_text(encoding="utf-8")
        try:
            if client.get("status").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(_LOOK_SECONDS)


@contextmanager
def _receivers(told: queue.Queue[Told]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            told.put(Told(self.path.strip("/"), self.headers.get("authorization", ""), body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="alert-receivers", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE_SECONDS)
