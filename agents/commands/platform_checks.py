"""What ``hecaton doctor`` looks at of platforms and clusters that run, or should: records, ports, parts, Ray, Redis."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psutil

from agents.commands.brain_checks import readiness
from agents.commands.findings import Check
from agents.commands.platform import find_platform, run_dir
from agents.commands.probe import last_line, run_probe
from agents.config import Settings

_CONNECT_SECONDS = 3.0
_RAY_SECONDS = 40.0
_REDIS_PORT = 6379
_JOIN = "import ray; ray.init(log_to_driver=False); print(ray.__version__, sum(n['Alive'] for n in ray.nodes()))"


def check_record(settings: Settings) -> Check:
    """Whether what the data directory says of a running platform is true."""
    name = "platform"
    record = find_platform(settings)
    if record is not None:
        return Check(name, "ok", f"up at {record.url} (process {record.pid})")
    file = run_dir(settings) / "platform.json"
    if not file.exists():
        return Check(name, "ok", "none is up on this data directory")
    try:
        pid = json.loads(file.read_text(encoding="utf-8"))["pid"]
    except (OSError, ValueError, KeyError, TypeError):
        pid = "unknown"
    found = f"{file} names process {pid}, which is no platform: it was killed"
    return Check(name, "note", found, "nothing is lost: hecaton up goes on with its sessions, and writes the file anew")


def check_port(settings: Settings) -> Check:
    record = find_platform(settings)
    if record is not None:
        return Check("port", "ok", f"hecaton is up at {record.url}")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            found = f"{where}: {error.strerror}{_holder(settings.port)}"
            return Check("port", "problem", found, "end what uses it, or choose another: --port")
    return Check("port", "ok", f"{settings.host}:{settings.port} is free")


def _holder(port: int) -> str:
    """Say who listens on *port*, as far as we may know."""
    try:
        listening = [
            each
            for each in psutil.net_connections(kind="tcp")
            if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port
        ]
        pid = next((each.pid for each in listening if each.pid), None)
        if pid is None:
            return "; it is held by a process of another user" if listening else ""
        return f"; it is held by process {pid} ({' '.join(psutil.Process(pid).cmdline())[:100]})"
    except psutil.Error:
        return ""


def check_parts(settings: Settings) -> Check:
    """What the platform that runs says of its parts."""
    name = "parts"
    record = find_platform(settings)
    if record is None:
        return Check(name, "ok", "nothing is up yet")
    try:
        told: dict[str, Any] = readiness(record)
        ready, harnesses, hosts = bool(told["ready"]), told["harness"], told["sandboxes"]
    except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
        remedy = "look at the output of hecaton up; if it hangs: hecaton down, then hecaton up"
        return Check(name, "problem", f"{record.url}/-/readyz does not tell: {error!r}", remedy)
    missing = [word for word, there in (("harness", harnesses), ("sandbox host", hosts)) if not there]
    if not ready or missing:
        found = f"no {' and no '.join(missing)} answers" if missing else "it is not ready"
        remedy = "Ray starts parts again by itself; if this stays: logs/worker-*.err in the Ray session, hecaton roll"
        return Check(name, "note" if ready else "problem", found, remedy)
    return Check(name, "ok", f"ready: {len(harnesses)} harnesses")


def check_ray_cluster() -> Check:
    """Whether the cluster that ``RAY_ADDRESS`` names is there, and of this machine's version of Ray."""
    name, address = "ray cluster", os.environ.get("RAY_ADDRESS")
    if not address:
        return Check(name, "ok", "RAY_ADDRESS is not set: hecaton up starts a Ray of its own")
    unset = "start that cluster, correct RAY_ADDRESS, or unset it: hecaton up then starts a Ray of its own"
    if address not in ("auto", "local"):
        url = urlsplit(address if "://" in address else f"ray://{address}")
        try:
            socket.create_connection((url.hostname or "", url.port or _REDIS_PORT), _CONNECT_SECONDS).close()
        except (OSError, ValueError) as error:
            return Check(name, "problem", f"RAY_ADDRESS={address}: nobody answers there ({error})", unset)
    try:
        done = run_probe([sys.executable, "-c", _JOIN], _RAY_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return Check(name, "problem", f"RAY_ADDRESS={address} lets nobody join within {_RAY_SECONDS:g} s", unset)
    if done.returncode:
        mismatch = [line for line in done.stderr.splitlines() if "mismatch" in line.lower()]
        if mismatch:
            remedy = "install the cluster's version of Ray and of Python here, or this one's on every node"
            return Check(name, "problem", f"RAY_ADDRESS={address}: {mismatch[-1].strip()}", remedy)
        remedy = f"{unset}; with RAY_AUTH_MODE=token the token must be the cluster's"
        return Check(name, "problem", f"RAY_ADDRESS={address}: {last_line(done.stderr)}", remedy)
    version, nodes = done.stdout.split()[-2:]
    return Check(name, "ok", f"Ray {version} at {address}, {nodes} nodes")


def check_redis() -> Check:
    """Whether the Redis answers that keeps the Ray head's state (``RAY_REDIS_ADDRESS``)."""
    name, address = "redis", os.environ.get("RAY_REDIS_ADDRESS")
    if not address:
        return Check(name, "ok", "not used (RAY_REDIS_ADDRESS is not set)")
    url = urlsplit(address if "://" in address else f"redis://{address}")
    try:
        answer = _ask_redis(url.hostname or "", url.port or _REDIS_PORT, tls=url.scheme == "rediss")
    except (OSError, ValueError) as error:
        remedy = "start it, or correct RAY_REDIS_ADDRESS: without it a head that dies takes the cluster's state with it"
        return Check(name, "problem", f"{url.hostname}:{url.port or _REDIS_PORT} does not answer: {error}", remedy)
    if not answer.startswith("+PONG"):
        return Check(name, "problem", f"it refuses: {answer}", "correct RAY_REDIS_PASSWORD and RAY_REDIS_USERNAME")
    return Check(name, "ok", f"answers at {url.hostname}:{url.port or _REDIS_PORT}")


def _ask_redis(host: str, port: int, *, tls: bool) -> str:
    """Log in and ping; returns the answer that matters, its first line."""
    with socket.create_connection((host, port), _CONNECT_SECONDS) as connection:
        if tls:
            return "+PONG (it takes connections; TLS is not looked into)"
        stream = connection.makefile("rwb")
        password = os.environ.get("RAY_REDIS_PASSWORD")
        if password:
            user = os.environ.get("RAY_REDIS_USERNAME")
            stream.write(_command("AUTH", *([user] if user else []), password))
            stream.flush()
            if not (answer := stream.readline()).startswith(b"+OK"):
                return answer.decode(errors="replace").strip()
        stream.write(_command("PING"))
        stream.flush()
        return stream.readline().decode(errors="replace").strip() or "it closes the connection"


def _command(*words: str) -> bytes:
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        data = word.encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)
