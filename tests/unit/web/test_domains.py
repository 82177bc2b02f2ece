"""An agent's lists of domains, subdomains and paths included."""

from __future__ import annotations

from typing import Any

import pytest

from agents.web.domains import permitted


@pytest.mark.parametrize(
    ("config", "host", "path", "expected"),
    [
        ({}, "example.com", "/", True),
        ({"allowed_domains": None, "blocked_domains": None}, "example.com", "/", True),
        ({"allowed_domains": ["example.com"]}, "example.com", "/", True),
        ({"allowed_domains": ["Example.COM"]}, "www.example.com", "/", True),
        ({"allowed_domains": ["example.com"]}, "badexample.com", "/", False),
        ({"allowed_domains": ["example.com"]}, "example.com.evil.org", "/", False),
        ({"allowed_domains": ["www.example.com"]}, "example.com", "/", False),
        ({"blocked_domains": ["example.com"]}, "a.b.example.com", "/", False),
        ({"blocked_domains": ["example.com"]}, "example.org", "/", True),
        ({"allowed_domains": ["example.com/docs"]}, "example.com", "/docs", True),
        ({"allowed_domains": ["example.com/docs"]}, "example.com", "/docs/a", True),
        ({"allowed_domains": ["example.com/docs/"]}, "example.com", "/docs", True),
        ({"allowed_domains": ["example.com/docs"]}, "example.com", "/docsearch", False),
        ({"allowed_domains": ["example.com/docs"]}, "example.com", "/", False),
        ({"allowed_domains": ["example.com/*/docs"]}, "example.com", "/en/docs/a", True),
        ({"allowed_domains": ["example.com/*/docs"]}, "example.com", "/en/blog", False),
        ({"allowed_domains": ["example.com/*/docs/*/v*"]}, "example.com", "/docs/en/docs/a/b/v2/x", True),
        ({"allowed_domains": ["example.com/*docs"]}, "example.com", "/docs-and-docs/x", True),
        ({"allowed_domains": ["example.com/" + "*a" * 100 + "b"]}, "example.com", "/" + "a" * 8000, False),
        ({"allowed_domains": ["example.com/a.b"]}, "example.com", "/axb", False),
        ({"blocked_domains": ["example.com/private"]}, "example.com", "/private/x", False),
        ({"blocked_domains": ["example.com/private"]}, "example.com", "/public", True),
    ],
)
def test_domain_lists(config: dict[str, Any], host: str, path: str, expected: bool) -> None:
    assert permitted(config, host, path) is expected
