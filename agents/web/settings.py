"""Settings of the web tools."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from agents.settings_base import Section


class WebSettings(Section):
    """The tools ``web_fetch`` and ``web_search`` (docs/web_tools.md)."""

    search_provider: Literal["none", "searxng", "brave", "tavily"] = "none"
    """Who answers ``web_search``; with ``none`` each call is told that no search is set up here."""
    search_url: str | None = None
    """Base URL of the provider: needed for SearXNG (``http://127.0.0.1:8080``), the public API's own for the others.
    It may be in a private network."""
    search_api_key: SecretStr | None = Field(default=None, min_length=1)
    """The provider's key: needed for Brave and Tavily."""
    search_results: int = Field(default=10, ge=1, le=20)
    """Most results of one search."""
    search_timeout_seconds: float = Field(default=20.0, gt=0)
    """Limit of one search."""
    fetch_timeout_seconds: float = Field(default=45.0, gt=0)
    """Limit of one fetch, redirects and the conversion to text included."""
    max_page_bytes: int = Field(default=10 * 1024**2, ge=1024)
    """Most that is read of one page, on the wire and unpacked; longer text is cut off, longer files are refused."""
    max_content_tokens: int = Field(default=25_000, ge=100)
    """About how much text of a page the model is shown, where the agent's ``max_content_tokens`` says nothing else."""
    max_parallel: int = Field(default=32, ge=1)
    """Web calls of one harness at a time; four times as many may wait, above that they are put off."""
    user_agent: str = Field(default="Hecaton (web_fetch on behalf of a user)", pattern=r"^[\x20-\x7e]{1,200}$")
    """What pages are told about who asks."""
    obey_robots: bool = False
    """Whether pages that a site's robots.txt closes to ``user_agent`` are left alone. Fetches are made for a user, not
    by a crawler, so that many do not ask."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.search_provider == "searxng" and not self.search_url:
            raise ValueError("search_provider searxng needs search_url, the base URL of your SearXNG")
        if self.search_provider in ("brave", "tavily") and self.search_api_key is None:
            raise ValueError(f"search_provider {self.search_provider} needs search_api_key")
        if self.search_url is not None and not self.search_url.startswith(("http://", "https://")):
            raise ValueError("search_url must begin with http:// or https://")
        return self
