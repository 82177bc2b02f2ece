"""Whether a Messages-API server answers, and takes the key that it would get: a list of its models is asked for."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx2
from pydantic import SecretStr

_SECONDS = 5.0
_API = "https://api.anthropic.com"
_REFUSED = (401, 403)


def key_refusal(base_url: str | None, key: SecretStr) -> tuple[str, str] | None:
    """Return what is wrong and what to do, None when nothing is."""
    base = (base_url or _API).rstrip("/")
    where = urlsplit(base).netloc.rpartition("@")[2]
    headers = {"x-api-key": key.get_secret_value(), "anthropic-version": "2023-06-01"}
    try:
        # Through a proxy of the environment, as the engine's own requests.
        status = httpx2.get(f"{base}/v1/models?limit=1", headers=headers, timeout=_SECONDS).status_code
    except httpx2.HTTPError as error:
        return f"nobody answers at {where}: {type(error).__name__}", "look at the network, its proxy, and the base_url"
    if status in _REFUSED:
        return f"{where} refuses the key ({status})", "set a key that is valid there: ANTHROPIC_API_KEY"
    return None
