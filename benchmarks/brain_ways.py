"""The ways to a model server that ``benchmarks.bench_brain_hop`` compares, each as a brain to think with."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import ray

from actors.brain_client import BrainClient
from actors.names import NAMESPACE
from agents.brains.claude import ClaudeBrain
from agents.brains.policy import RulePolicy
from agents.brains.port import Brain
from agents.brains.registry import registry_of
from agents.brains.routing import RoutedBrain
from agents.config import BrainSettings
from agents.economics.price_book import PriceBook
from agents.settings_loading import load_settings
from agents.vault import MemoryVault
from benchmarks.deployment import Deployment


@asynccontextmanager
async def brain_ways(platform: Deployment) -> AsyncGenerator[dict[str, Brain]]:
    """Join the platform's Ray cluster as a harness does; yields ``direct``, ``harness`` and ``gateway``."""
    ray.init(address=os.environ["RAY_ADDRESS"], namespace=NAMESPACE, log_to_driver=False)
    settings = load_settings(overrides={"data_dir": str(platform.data_dir)})
    vault = MemoryVault({"anthropic_api_key": "x"})
    async with AsyncExitStack() as stack:
        stack.callback(ray.shutdown)
        pools = BrainClient(settings)
        pools.start()
        stack.push_async_callback(pools.close)
        direct, gateway = (ClaudeBrain(BrainSettings(base_url=url), vault) for url in (platform.stub_url, platform.url))
        stack.push_async_callback(direct.aclose)
        stack.push_async_callback(gateway.aclose)
        policy = RulePolicy(PriceBook.load(settings.brain.price_book))
        yield {
            "direct": direct,
            "harness": RoutedBrain(registry_of(settings), pools, policy),
            "gateway": gateway,
        }
