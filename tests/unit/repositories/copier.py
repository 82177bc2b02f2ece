"""Copies one repository, for a test that kills it meanwhile: ``python -m ... URL TARGET``, the token on its input."""

from __future__ import annotations

import asyncio
import sys
from ipaddress import ip_network
from pathlib import Path

from pydantic import SecretStr

from agents.net.guard import Guard
from agents.repositories.cloning import Cloner
from agents.repositories.source import RepositorySource

if __name__ == "__main__":
    url, target = sys.argv[1:]
    cloner = Cloner(Guard((ip_network("127.0.0.0/8"),)), seconds=600, most_bytes=1 << 30)
    asyncio.run(cloner.clone(RepositorySource(url), SecretStr(sys.stdin.readline().strip()), Path(target)))
