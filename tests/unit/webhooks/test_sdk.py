"""The official SDK verifies what is signed here."""

from __future__ import annotations

import base64
import time

import pytest
from anthropic import Anthropic
from pydantic import SecretStr
from standardwebhooks import WebhookVerificationError

from agents.webhooks.endpoint import signed_headers

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
BODY = '{"id":"whe_1","type":"event","created_at":"2026-11-22T00:00:00Z","data":{"type":"anomaly.detected"}}'


def test_the_sdk_takes_a_signed_event_and_refuses_a_changed_one() -> None:
    headers = signed_headers(SecretStr(SECRET), "whe_1", int(time.time()), BODY.encode())
    webhooks = Anthropic(api_key="x").beta.webhooks
    assert webhooks.unwrap(BODY, headers=headers, key=SECRET).id == "whe_1"
    with pytest.raises(WebhookVerificationError):
        webhooks.unwrap(BODY.replace("anomaly", "Anomaly"), headers=headers, key=SECRET)
