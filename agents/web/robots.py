"""What a site's robots.txt lets this server's user agent read (RFC 9309), where the operator wants that obeyed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from urllib.robotparser import RobotFileParser

from agents.net.guard import parse_url
from agents.web.content import decoded
from agents.web.failures import WebFailure
from agents.web.fetch import Fetcher

_MAX_BYTES = 500 * 1024
_MAX_SITES = 512
_GOOD_SECONDS = 3600.0


class Robots:
    """The rules of the sites read last, each for an hour."""

    def __init__(self, fetcher: Fetcher, user_agent: str, now: Callable[[], float]) -> None:
        self._fetcher = fetcher
        # A robots.txt speaks of products, not of whole user agent headers.
        self._product = user_agent.partition("/")[0].partition(" ")[0]
        self._now = now
        self._sites: OrderedDict[str, tuple[float, RobotFileParser]] = OrderedDict()

    async def check(self, url: str) -> None:
        """Raise WebFailure when the site closes *url*, which is allowed otherwise; without rules everything is open."""
        place = parse_url(url)
        site = f"{place.scheme}://{place.host if ':' not in place.host else f'[{place.host}]'}:{place.port}"
        kept = self._sites.get(site)
        if kept is None or kept[0] < self._now():
            self._sites[site] = kept = (self._now() + _GOOD_SECONDS, await self._read(site))
        self._sites.move_to_end(site)
        while len(self._sites) > _MAX_SITES:
            self._sites.popitem(last=False)
        if not kept[1].can_fetch(self._product, url):
            raise WebFailure("url_not_allowed", f"the robots.txt of {place.host} does not allow it")

    async def _read(self, site: str) -> RobotFileParser:
        rules = RobotFileParser()
        try:
            page = await self._fetcher.read(f"{site}/robots.txt", {}, max_bytes=_MAX_BYTES)
            rules.parse(decoded(page.data, None).splitlines())
        except WebFailure:
            rules.parse([])
        return rules
