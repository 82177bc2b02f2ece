"""Settings of the anomaly detector and of who is told: the section ``anomalies``."""

from __future__ import annotations

from pydantic import Field, model_validator

from agents.settings_base import KeyName, Section
from agents.webhooks.endpoint import Endpoint, SigningSecret, WebhookUrl


class AnomalySettings(Section):
    """What counts as an anomaly, and who is told; see docs/monitoring.md."""

    enabled: bool = True
    """Whether harnesses and gateways look for anomalies."""
    check_seconds: float = Field(default=15.0, gt=0, le=600)
    """How often latencies, spending, stuck sessions and takeovers are looked at; loops are found at once."""
    window_seconds: float = Field(default=300.0, ge=10, le=3600)
    """The recent past: what is held against the baseline."""
    baseline_seconds: float = Field(default=3600.0, ge=60, le=86_400)
    """The rolling baseline: how far it reaches back before the window."""
    min_samples: int = Field(default=30, ge=10)
    """Fewer observations than this in the window, or in the baseline, say nothing."""
    latency_ratio: float = Field(default=1.2, gt=1)
    """A 95th percentile this many times its baseline's is a spike, unless chance explains it."""
    latency_ended_ratio: float = Field(default=1.1, gt=1)
    """Below this many times the baseline, for a whole window, the spike is over."""
    latency_floor_seconds: float = Field(default=0.01, ge=0)
    """A 95th percentile below this is no spike, whatever it was before."""
    loop_repeats: int = Field(default=5, ge=3, le=100)
    """So many times in a row the same call with the same result, or the same round of up to four calls, is a loop."""
    session_cost_ratio: float = Field(default=5.0, gt=1)
    """A turn that has cost this many times the 95th percentile of turns is a cost spike of its session."""
    session_cost_floor_usd: float = Field(default=0.5, ge=0)
    """Turns that have cost less are none."""
    cost_ratio: float = Field(default=2.0, gt=1)
    """Spending this many times as fast as in the baseline is a cost spike."""
    cost_ended_ratio: float = Field(default=1.5, gt=1)
    """Below this many times the baseline it is over."""
    cost_floor_usd: float = Field(default=1.0, ge=0)
    """Less than this in the window is none."""
    stuck_seconds: float = Field(default=600.0, ge=1)
    """A session that runs with nothing committed for this long is stuck."""
    storm_window_seconds: float = Field(default=600.0, ge=10, le=86_400)
    """Within this span takeovers are counted, those that come together as one wave."""
    storm_waves: int = Field(default=4, ge=2)
    """So many waves of takeovers are a storm."""
    webhooks: dict[KeyName, WebhookUrl] = Field(default_factory=lambda: {})
    """URLs that each anomaly and its end are posted to, each under a name (``anomalies.webhooks.pager``)."""
    webhook_secrets: dict[KeyName, SigningSecret] = Field(default_factory=lambda: {})
    """What the posts to the URL of the same name are signed with: ``whsec_`` and 24 to 64 bytes in base64."""

    @model_validator(mode="after")
    def _each_has_its_secret(self) -> AnomalySettings:
        if odd := sorted(self.webhooks.keys() ^ self.webhook_secrets.keys()):
            raise ValueError(f"webhooks and webhook_secrets must have the same names; only in one of them: {odd}")
        return self

    @property
    def endpoints(self) -> list[Endpoint]:
        """The webhooks with their secrets."""
        return [Endpoint(name, url, self.webhook_secrets[name]) for name, url in self.webhooks.items()]
