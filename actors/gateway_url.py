"""``python -m actors.gateway_url``: says where the platform on a Ray cluster listens, for who is inside the cluster."""

from __future__ import annotations

import argparse
import sys

import ray
from ray import serve
from ray.serve.context import _get_global_client  # pyright: ignore[reportPrivateUsage]

from actors.bootstrap import join
from actors.names import GATEWAY_APP

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - what a proxy may listen on, not what we do
_HEAD = "node:__internal_head__"


def gateway_url() -> str:
    """Return the URL of the proxy on the head node. Raises LookupError when no platform is on the cluster."""
    client = _get_global_client(raise_if_no_controller_running=False)
    if client is None or GATEWAY_APP not in serve.status().applications:
        raise LookupError("there is no platform on this Ray cluster")
    at = client.http_config
    host = at.host if at.host and at.host not in _EVERYWHERE else _head_address()
    return f"http://{f'[{host}]' if ':' in host else host}:{at.port}"


def _head_address() -> str:
    return next(node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"] and _HEAD in node["Resources"])


def main() -> int:
    """Print the URL of the platform on the cluster at ``--address``; exit status 1 when there is none."""
    parser = argparse.ArgumentParser(prog="python -m actors.gateway_url")
    parser.add_argument("--address", required=True)
    join(parser.parse_args().address)
    try:
        sys.stdout.write(gateway_url() + "\n")
    except LookupError as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
