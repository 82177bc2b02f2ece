"""The company that the three hands tell of: its plans and its customers, made up, and the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

PLANS = {"starter": 4_900, "team": 19_900, "business": 79_900}
"""Cents per month."""
FIRST_MONTH = (2025, 7)
MONTHS = 15
"""Up to and with September 2026."""
_CUSTOMERS = 60
_FIRST_NAMES = ("Ada", "Bram", "Chidi", "Dana", "Elif", "Femi", "Greta", "Hugo", "Ines", "Jun", "Kofi", "Lena")
_LAST_NAMES = ("Almeida", "Berg", "Castillo", "Dietrich", "Eriksen", "Fontaine", "Gruber", "Haddad", "Ito", "Jansen")
_COMPANIES = ("Harbor", "Juniper", "Meridian", "Northwind", "Orchard", "Pinnacle", "Quarry", "Riverside", "Summit")
_TRADES = ("Logistics", "Dental", "Foods", "Studios", "Robotics", "Textiles", "Travel")


@dataclass(frozen=True, slots=True)
class DemoCustomer:
    """One customer; months are numbered from ``FIRST_MONTH`` on."""

    id: str
    name: str
    email: str
    company: str
    plan: str
    joined: int
    left: int | None
    """The first month without a bill; None while they stay."""

    @property
    def months(self) -> range:
        """The months that are billed."""
        return range(self.joined, MONTHS if self.left is None else self.left)


@lru_cache
def customers() -> Sequence[DemoCustomer]:
    """Return all customers, by id."""
    return tuple(_made())


def month_start(number: int) -> datetime:
    """Return when a month begins."""
    year, month = FIRST_MONTH
    years, months = divmod(month - 1 + number, 12)
    return datetime(year + years, months + 1, 1, tzinfo=UTC)


def draw(below: int, *what: object) -> int:
    """Return a number that looks random and is the same whenever it is asked for *what*."""
    digest = hashlib.sha256(":".join(map(str, what)).encode()).digest()
    return int.from_bytes(digest[:8]) % below


def _made() -> Iterator[DemoCustomer]:
    for number in range(1, _CUSTOMERS + 1):
        first = _FIRST_NAMES[number % len(_FIRST_NAMES)]
        last = _LAST_NAMES[draw(len(_LAST_NAMES), "last", number)]
        company = f"{_COMPANIES[number % len(_COMPANIES)]} {_TRADES[number % len(_TRADES)]}"
        # Most were there from the start; one in four leaves some months later.
        joined = 0 if number <= _CUSTOMERS // 2 else draw(MONTHS - 1, "joined", number)
        stays = 2 + draw(10, "stays", number)
        left = joined + stays if draw(4, "leaves", number) == 0 and joined + stays < MONTHS else None
        yield DemoCustomer(
            id=f"cus_{number:04d}",
            name=f"{first} {last}",
            email=f"{first}.{last}.{number}@{company.split()[0]}.example".lower(),
            company=company,
            plan=("starter", "starter", "team", "team", "business")[draw(5, "plan", number)],
            joined=joined,
            left=left,
        )
