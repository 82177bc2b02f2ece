"""Search providers: how each is asked, and its answers as one list of hits.

The provider is the operator's choice, so the guard of agents' URLs is not asked about it: a SearXNG usually is in a
private network. Each does as much of an agent's settings as it can; the lists of domains are applied to what comes
back besides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from agents.net.guard import place_of
from agents.web.countries import NAMES
from agents.web.domains import permitted
from agents.web.failures import WebFailure
from agents.web.settings import WebSettings

if TYPE_CHECKING:
    import httpx2

MAX_QUERY_CHARS = 400
"""What Brave and Tavily take."""
_MAX_ANSWER_BYTES = 4 * 1024**2
_MOST_ASKED = 20
"""Hits that the providers give at most; asked for when some of them may be dropped."""
_MAX_SITES = 8
"""Domains that are written into a query, as far as they fit."""
_MAX_TITLE = 300
_MAX_SNIPPET = 1_000


@dataclass(frozen=True, slots=True)
class Hit:
    """One result of a search."""

    title: str
    url: str
    snippet: str
    age: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """One HTTP request to a provider."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=lambda: {})
    params: Mapping[str, str] = field(default_factory=lambda: {})
    body: Mapping[str, Any] | None = None


class Provider(Protocol):
    """One search API."""

    base_url: str

    def order(self, query: str, config: Mapping[str, Any], count: int) -> Order:
        """Return the request for *count* hits; *config* is the agent's for ``web_search``."""
        ...

    def hits(self, answer: Mapping[str, Any]) -> Sequence[Hit]:
        """Read its answer. Raises KeyError, TypeError or ValueError for one that it does not document."""
        ...


class SearXNG:
    """docs.searxng.org/dev/search_api; its settings must list ``json`` among ``search.formats``."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def order(self, query: str, config: Mapping[str, Any], count: int) -> Order:
        """See Provider.order. It takes no number of hits and no place."""
        del count
        return Order("GET", "/search", params={"q": _with_sites(query, config), "format": "json"})

    def hits(self, answer: Mapping[str, Any]) -> Sequence[Hit]:
        """See Provider.hits."""
        return [
            Hit(each["title"], each["url"], each.get("content") or "", each.get("publishedDate") or "")
            for each in answer["results"]
        ]


class Brave:
    """Brave's Web Search API (``/res/v1/web/search``)."""

    def __init__(self, base_url: str | None, key: str) -> None:
        self.base_url = base_url or "https://api.search.brave.com"
        self._key = key

    def order(self, query: str, config: Mapping[str, Any], count: int) -> Order:
        """See Provider.order."""
        location = _part(config, "user_location")
        places = {
            "X-Loc-City": location.get("city"),
            "X-Loc-State-Name": location.get("region"),
            "X-Loc-Country": location.get("country"),
            "X-Loc-Timezone": location.get("timezone"),
        }
        # Header values are Latin-1: a place beyond it is better not told than told wrongly.
        known = {name: value for name, value in places.items() if value and value.isascii() and value.isprintable()}
        params = {"q": _with_sites(query, config), "count": str(count), "text_decorations": "false"}
        if location.get("country"):
            params["country"] = location["country"]
        headers = {"X-Subscription-Token": self._key, "Accept": "application/json", **known}
        return Order("GET", "/res/v1/web/search", headers, params)

    def hits(self, answer: Mapping[str, Any]) -> Sequence[Hit]:
        """See Provider.hits. Without any hit there is no ``web``."""
        found: Sequence[Mapping[str, Any]] = _part(answer, "web").get("results") or ()
        return [Hit(each["title"], each["url"], each.get("description") or "", each.get("age") or "") for each in found]


class Tavily:
    """Tavily's ``/search``."""

    def __init__(self, base_url: str | None, key: str) -> None:
        self.base_url = base_url or "https://api.tavily.com"
        self._key = key

    def order(self, query: str, config: Mapping[str, Any], count: int) -> Order:
        """See Provider.order."""
        body: dict[str, Any] = {"query": query, "max_results": count, "search_depth": "basic", "topic": "general"}
        for key, name in (("allowed_domains", "include_domains"), ("blocked_domains", "exclude_domains")):
            if domains := config.get(key):
                # One with a path would exclude the whole site: that one is for us alone.
                whole = [each for each in domains if "/" not in each or key == "allowed_domains"]
                body[name] = list(dict.fromkeys(each.partition("/")[0] for each in whole))
        country = NAMES.get(_part(config, "user_location").get("country") or "")
        if country is not None:
            body["country"] = country
        return Order("POST", "/search", {"Authorization": f"Bearer {self._key}"}, body=body)

    def hits(self, answer: Mapping[str, Any]) -> Sequence[Hit]:
        """See Provider.hits."""
        return [
            Hit(each["title"], each["url"], each.get("content") or "", each.get("published_date") or "")
            for each in answer["results"]
        ]


def provider_of(settings: WebSettings) -> Provider | None:
    """Return the provider that is configured."""
    key = settings.search_api_key.get_secret_value() if settings.search_api_key else ""
    match settings.search_provider:
        case "none":
            return None
        case "searxng":
            return SearXNG(settings.search_url or "")
        case "brave":
            return Brave(settings.search_url, key)
        case "tavily":
            return Tavily(settings.search_url, key)


def _part(whole: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return whole.get(key) or {}


def _with_sites(query: str, config: Mapping[str, Any]) -> str:
    """Write the domains into *query* as operators that search engines know, as far as there is room."""
    allowed = [f"site:{each}" for each in config.get("allowed_domains") or ()]
    blocked = [f"-site:{each}" for each in config.get("blocked_domains") or ()]
    if allowed and len(allowed) <= _MAX_SITES:
        full = f"{query} ({' OR '.join(allowed)})" if len(allowed) > 1 else f"{query} {allowed[0]}"
        return full if len(full) <= MAX_QUERY_CHARS else query
    for each in blocked[:_MAX_SITES]:
        if len(query) + len(each) < MAX_QUERY_CHARS:
            query = f"{query} {each}"
    return query


class Search:
    """Asks one provider."""

    def __init__(self, provider: Provider, *, results: int, timeout: float) -> None:
        import httpx2

        from agents.net.client import trusted_authorities

        self._provider = provider
        self._results = results
        self._client = httpx2.AsyncClient(timeout=timeout, verify=trusted_authorities())

    async def close(self) -> None:
        """Close the client's connections."""
        await self._client.aclose()

    async def find(self, query: str, config: Mapping[str, Any]) -> list[Hit]:
        """Return the hits that *config* allows, best first. The caller bounds the time. Raises WebFailure."""
        narrowed = config.get("allowed_domains") or config.get("blocked_domains")
        order = self._provider.order(query, config, _MOST_ASKED if narrowed else self._results)
        answer = await self._ask(order)
        try:
            found = self._provider.hits(answer)
            return [_bounded(hit) for hit in found if _allowed(hit.url, config)][: self._results]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WebFailure("unavailable", "the search provider's answer has another form than expected") from error

    async def _ask(self, order: Order) -> Mapping[str, Any]:
        import httpx2
        import orjson

        url = self._provider.base_url.rstrip("/") + order.path
        try:
            async with self._client.stream(
                order.method, url, params=order.params or None, headers=order.headers, json=order.body
            ) as answer:
                _check_status(answer)
                data = bytearray()
                async for piece in answer.aiter_bytes():
                    data += piece
                    if len(data) > _MAX_ANSWER_BYTES:
                        raise WebFailure("unavailable", "the search provider's answer is too large")
            return cast("Mapping[str, Any]", orjson.loads(data))
        except httpx2.HTTPError as error:
            words = f"the search provider cannot be reached ({type(error).__name__})"
            raise WebFailure("unavailable", words) from error
        except orjson.JSONDecodeError as error:
            raise WebFailure("unavailable", "the search provider's answer is not JSON") from error


def _check_status(answer: httpx2.Response) -> None:
    status = answer.status_code
    if status == 429:
        raise WebFailure("too_many_requests", "the search provider takes no more searches just now")
    if status in (401, 403):
        raise WebFailure("unavailable", "the search provider refused this server: its operator must mend web.search_*")
    if status in (432, 433):  # Tavily's, for a plan that is used up
        raise WebFailure("too_many_requests", "the plan with the search provider is used up")
    if status != 200:
        raise WebFailure("unavailable", f"the search provider answered {status}")


def _allowed(url: str, config: Mapping[str, Any]) -> bool:
    place = place_of(url)
    return place is not None and permitted(config, place.host, place.path)


def _bounded(hit: Hit) -> Hit:
    return Hit(_line(hit.title)[:_MAX_TITLE], hit.url, _line(hit.snippet)[:_MAX_SNIPPET], _line(hit.age)[:40])


def _line(text: str) -> str:
    return " ".join(text.split())
