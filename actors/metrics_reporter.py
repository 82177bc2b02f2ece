"""What a process has recorded, told every few seconds: to the fleet, which adds all of them up, and to Ray's charts.

Off the hot path: recording is a look-up in a dictionary, and only the difference to the last time is told to Ray.
"""

from __future__ import annotations

import logging
import time

from actors.fleet_client import ask_fleet
from actors.ray_charts import RayCharts
from agents.clock import SystemClock
from agents.errors import Unavailable
from agents.periodic import PeriodicTask
from agents.telemetry.cluster_totals import PRESENT_SECONDS
from agents.telemetry.recorder import Recorded, Recorder

logger = logging.getLogger(__name__)

_EVERY_SECONDS = 2.0
_TELL_SECONDS = 2.0
_SIGN_OF_LIFE_SECONDS = PRESENT_SECONDS / 3
"""One with nothing new says so as often; a fleet that has just started hears of it no later."""


class MetricsReporter:
    """Tells what one process has recorded; nothing at all when it records nothing."""

    def __init__(self, recorder: Recorder, part: str) -> None:
        """*part* is what Ray's charts tell its processes apart by: ``harness``, ``gateway``, ``sandbox``, ``brain``."""
        self._recorder = recorder
        self._charts = RayCharts(part)
        self._told: Recorded = {}
        self._due = 0.0
        self._task = PeriodicTask(
            f"metrics of {part}", self._tell, SystemClock(), every=_EVERY_SECONDS, failing="the figures are not told"
        )

    def start(self) -> None:
        """Begin; needs a running event loop."""
        if self._recorder.on:
            self._task.start()

    async def stop(self) -> None:
        """Tell everything for the last time."""
        await self._task.finish()

    async def _tell(self) -> None:
        recorded = self._recorder.snapshot()
        self._charts.show(recorded)
        now = time.monotonic()
        if recorded == self._told and now < self._due:
            return
        try:
            await ask_fleet("take_metrics", self._recorder.process, recorded, timeout=_TELL_SECONDS)
        except AttributeError as error:
            raise Unavailable("the fleet is of an earlier release and adds up no figures") from error
        self._told, self._due = recorded, now + _SIGN_OF_LIFE_SECONDS
