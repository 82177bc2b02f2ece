"""One brain as it is declared under ``brains:``; see docs/brains.md.

What a declaration says of the thinking itself (engine, model, sampling) is a *version* and never changes:
another engine or model is another version. Where it runs and how it scales may change at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from agents.brains.service_time import ServiceTime
from agents.settings_base import AbsolutePath, KeyName, Section, as_mapping, laid_over

Engine = Literal["claude", "server", "transformers", "replay", "simulated"]
Role = Literal["reasoning", "generation", "summarization"]


def _as_text(version: object) -> object:
    """YAML reads ``version: 2`` as a number."""
    return str(version) if isinstance(version, int) else version


Version = Annotated[str, BeforeValidator(_as_text), StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")]
Alias = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,127}$")]

MOST_REPLICAS = 1024
RESERVED = "auto"
"""What an agent names when the policy shall choose; no brain and no alias may have this name."""


class BrainResources(Section):
    """What one replica needs."""

    num_cpus: float = Field(default=0.1, ge=0)
    """CPUs that Ray reserves for a replica (for each of its GPUs, with ``tensor_parallel``)."""
    num_gpus: float = Field(default=0.0, ge=0)
    """GPUs of a replica (each of its workers has so many, with ``tensor_parallel``); may be a fraction."""
    accelerator_type: str | None = None
    """Only nodes with this accelerator (a name of ``ray.util.accelerators``)."""
    labels: dict[str, str] = Field(default_factory=lambda: {})
    """Only nodes with these labels (Ray's label selectors)."""
    tensor_parallel: int = Field(default=1, ge=1, le=64)
    """GPUs that one model is spread over; they are reserved together, on one node (a placement group)."""


class BrainBurst(Section):
    """More replicas than ``max_replicas``, for a spike and for money."""

    usd_per_hour: float | None = Field(default=None, gt=0)
    """Most that all replicas together may cost in an hour while a burst lasts; unset, there are no bursts."""
    load_factor: float = Field(default=1.5, ge=1)
    """A burst begins when the load wants more than so many times ``max_replicas``; it ends when these are enough."""
    start_seconds: float = Field(default=30.0, ge=0)
    """How long the load must want so much before."""


class BrainScaling(Section):
    """How many replicas there are."""

    min_replicas: int = Field(default=1, ge=0, le=MOST_REPLICAS)
    """Fewest replicas; with 0 the brain ends when nobody asks it, and the first request waits for its start."""
    max_replicas: int = Field(default=1, ge=1, le=MOST_REPLICAS)
    """Most replicas."""
    target_ongoing_requests: float = Field(default=64.0, gt=0)
    """Requests under way or waiting, per replica, that the number of replicas is steered to."""
    upscale_delay_seconds: float = Field(default=5.0, ge=0)
    """How long there must be too few before more are started."""
    downscale_delay_seconds: float = Field(default=120.0, ge=0)
    """How long there must be too many before some end."""
    burst: BrainBurst = BrainBurst()

    @model_validator(mode="after")
    def _ordered(self) -> BrainScaling:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas {self.min_replicas} is above max_replicas {self.max_replicas}")
        return self


class BrainPrice(Section):
    """What thinking costs, beside the list price of sessions. USD."""

    gpu_hour: float = Field(default=0.0, ge=0)
    """A GPU for an hour, from the replica's start to its end."""
    input_mtok: float = Field(default=0.0, ge=0)
    """A million tokens read."""
    output_mtok: float = Field(default=0.0, ge=0)
    """A million tokens written."""
    ceiling_usd_per_hour: float | None = Field(default=None, gt=0)
    """Most that all versions together may spend in an hour: by replicas at ``gpu_hour``; without that by answers, those
    of the last sixty minutes. A ceiling of a version's own holds besides. Unset, nothing holds the brain back."""

    @property
    def given(self) -> bool:
        """Whether the brain has a price of its own; a ceiling alone is none."""
        return bool(self.gpu_hour or self.input_mtok or self.output_mtok)


class BrainCapabilities(Section):
    """What the model can do."""

    context_tokens: int = Field(default=200_000, ge=256)
    """Tokens of a request and its answer together."""
    max_output_tokens: int = Field(default=32_000, ge=1)
    """Most tokens of one answer."""
    tools: bool = True
    """Whether it can call tools."""
    vision: bool = False
    """Whether it can see images."""
    thinking: bool = False
    """Whether it thinks aloud before it answers."""
    system_messages: bool = False
    """Whether it takes system messages in mid-conversation. One that does not is told them with the system prompt."""


class ServerSettings(Section):
    """The inference server that the ``server`` engine runs beside each replica."""

    preset: Literal["vllm", "sglang", "llama.cpp"] = "vllm"
    """Whose command, health path and metrics path are the defaults."""
    command: list[str] = Field(default_factory=lambda: [])
    """The command instead of the preset's; ``{model}``, ``{host}``, ``{port}``, ``{tensor_parallel}`` and
    ``{context_tokens}`` are filled in."""
    arguments: list[str] = Field(default_factory=lambda: [])
    """More arguments, after those of the command."""
    environment: dict[str, str] = Field(default_factory=lambda: {})
    """More environment variables. Not for secrets, which belong in the environment of the replica itself."""
    health_path: str | None = None
    """Answered with 200 once the server can think; the preset's when unset."""
    metrics_path: str | None = None
    """Prometheus text; the preset's when unset."""
    start_seconds: float = Field(default=900.0, gt=0)
    """How long the server may take until it is healthy: it loads the weights."""
    check_seconds: float = Field(default=2.0, gt=0)
    """Between two checks of its health."""
    stop_seconds: float = Field(default=20.0, gt=0)
    """From SIGTERM to SIGKILL."""
    max_restarts: int = Field(default=3, ge=0)
    """Times within ten minutes that it is started again after it died; then the replica itself is replaced."""


class TransformersSettings(Section):
    """The ``transformers`` engine: a Hugging Face model in the replica's own process."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it computes; ``auto`` is CUDA where there is one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Numbers it computes with; ``auto`` is the checkpoint's own on a GPU, float32 on a CPU."""
    max_batch: int = Field(default=8, ge=1, le=512)
    """Requests that are decoded together."""
    prefill_tokens: int = Field(default=1024, ge=1)
    """Tokens of a prompt that are read between two decoding steps of the other requests."""
    start_seconds: float = Field(default=900.0, gt=0)
    """How long loading and warming up may take."""
    temperature: float = Field(default=0.0, ge=0, le=5)
    """0 takes the likeliest token always."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Only tokens of the likeliest so much are drawn from."""


class RollbackBounds(Section):
    """When a version that gets a part of the new sessions, or was just promoted, is taken back by itself."""

    max_error_rate: float = Field(default=0.1, gt=0, le=1)
    """Part of its requests that may fail; 1 allows all of them."""
    max_p95_seconds: float | None = Field(default=None, gt=0)
    """95 of 100 requests must be answered, to the end, within this time; unset, it is not judged by its time."""
    min_requests: int = Field(default=20, ge=1)
    """It is judged by no fewer requests."""
    window_seconds: float = Field(default=300.0, ge=10, le=3600)
    """It is judged by the requests of so long, up to now."""
    after_promotion_seconds: float = Field(default=3600.0, ge=0)
    """A promoted version is judged for so long, too, and gives way to the one before it; 0: not at all."""


class BrainVersion(Section):
    """One version of a brain: what thinks, what it can do, where, and at what price."""

    engine: Engine
    """What thinks: ``claude`` (or any Messages-API server at ``base_url``), an inference ``server`` beside the
    replica, a ``transformers`` model in it, the ``replay`` of a plan, or such a replay in the time that a ``simulated``
    GPU would take."""
    model: str | None = None
    """What the engine is told: a model's id, or a folder or name of weights. Unset, ``claude`` is told what the agent
    named."""
    base_url: str | None = None
    """Messages-API server of the ``claude`` engine; ``ANTHROPIC_BASE_URL`` when unset."""
    replay_plan: AbsolutePath | None = None
    """YAML plan of the ``replay`` and ``simulated`` engines; the built-in demonstration when unset."""
    display_name: str | None = None
    """How ``/v1/models`` shows it."""
    max_ongoing_requests: int = Field(default=256, ge=1)
    """Model requests that one replica works on at a time; the others wait."""
    resources: BrainResources = BrainResources()
    scaling: BrainScaling = BrainScaling()
    price: BrainPrice = BrainPrice()
    capabilities: BrainCapabilities = BrainCapabilities()
    server: ServerSettings = ServerSettings()
    transformers: TransformersSettings = TransformersSettings()
    simulated: ServiceTime = ServiceTime()

    @model_validator(mode="after")
    def _told(self) -> BrainVersion:
        if self.engine in ("server", "transformers") and self.model is None:
            raise ValueError(f"the {self.engine} engine must be told a model")
        return self

    @model_validator(mode="after")
    def _affordable(self) -> BrainVersion:
        scaling, burst, cost = self.scaling, self.scaling.burst.usd_per_hour, self.replica_usd_per_hour
        if self.most_replicas < max(1, scaling.min_replicas):
            needed = float(cost * max(1, scaling.min_replicas))
            raise ValueError(f"price.ceiling_usd_per_hour is below what the fewest replicas cost, {needed:g}")
        if burst is not None and (not cost or self.burst_replicas <= scaling.max_replicas):
            told = f"at {float(cost):g} USD per hour each" if cost else "as they have no price (price.gpu_hour)"
            raise ValueError(f"scaling.burst pays for no replica above max_replicas, {told}")
        return self

    @property
    def replica_usd_per_hour(self) -> Decimal:
        """What one replica costs; 0 without GPUs or their price."""
        gpus = Decimal(str(self.resources.num_gpus)) * self.resources.tensor_parallel
        return Decimal(str(self.price.gpu_hour)) * gpus

    @property
    def most_replicas(self) -> int:
        """Replicas there may be while there is no burst: as many as the ceiling pays for, at most ``max_replicas``."""
        return min(self.scaling.max_replicas, self._paid_for(self.price.ceiling_usd_per_hour))

    @property
    def burst_replicas(self) -> int:
        """Replicas there may be in a burst; as many as otherwise when none is allowed."""
        burst = self.scaling.burst.usd_per_hour
        if burst is None:
            return self.most_replicas
        return min(self._paid_for(burst), self._paid_for(self.price.ceiling_usd_per_hour))

    @property
    def steered(self) -> bool:
        """Whether the load decides how many replicas there are."""
        return self.scaling.min_replicas < self.burst_replicas

    @property
    def least_usd_per_hour(self) -> Decimal:
        """What its replicas cost when there are as few as may be; one that is asleep must be able to wake."""
        fewest = max(1, self.scaling.min_replicas) if self.steered else self.most_replicas
        return self.replica_usd_per_hour * fewest

    def _paid_for(self, usd_per_hour: float | None) -> int:
        if usd_per_hour is None or not self.replica_usd_per_hour:
            return MOST_REPLICAS
        return min(MOST_REPLICAS, int(Decimal(str(usd_per_hour)) // self.replica_usd_per_hour))

    @property
    def answers_ceiling(self) -> int | None:
        """Micro-USD that the answers of an hour may cost, if they are what the ceiling is for."""
        ceiling = self.price.ceiling_usd_per_hour
        return None if ceiling is None or self.replica_usd_per_hour else int(Decimal(str(ceiling)) * 1_000_000)


class MoreVersion(BrainVersion):
    """One more version of a brain; what it leaves out is as the brain has it."""

    weight: int = Field(default=0, ge=0, le=100)
    """Percent of the new sessions that it gets."""


class BrainDefinition(BrainVersion):
    """One brain; each version is a Serve application of its own."""

    version: Version = "1"
    """Name of this engine, model and their settings; what they are under one version never changes."""
    versions: dict[Version, MoreVersion] = Field(default_factory=lambda: {})
    """More versions, each under its name; see docs/brains.md."""
    rollback: RollbackBounds = RollbackBounds()
    """When a version is taken back by itself."""
    aliases: list[Alias] = Field(default_factory=lambda: [])
    """More names that agents may use; one that ends in ``-`` or ``.`` stands for all that begin with it."""
    roles: list[Role] = Field(default_factory=lambda: [])
    """What ``model: auto:ROLE`` may choose it for."""
    fallbacks: list[KeyName] = Field(default_factory=lambda: [])
    """Brains that are asked instead, in order, when this one is down, overloaded or over its budget."""

    @model_validator(mode="before")
    @classmethod
    def _inherited(cls, given: Any) -> Any:
        """Fill every version with what the brain itself says, so that each is whole wherever it travels."""
        brain = as_mapping(given)
        versions = brain and as_mapping(brain.get("versions"))
        if not brain or not versions:
            return given
        shared = {name: value for name, value in brain.items() if name in BrainVersion.model_fields}
        return {**brain, "versions": {name: laid_over(shared, own) for name, own in versions.items()}}

    @model_validator(mode="after")
    def _complete(self) -> BrainDefinition:
        if RESERVED in self.aliases:
            raise ValueError(f"{RESERVED!r} is no alias: it lets the policy choose")
        if self.version in self.versions:
            raise ValueError(f"version {self.version!r} is among versions too")
        if (percent := sum(each.weight for each in self.versions.values())) > 100:
            raise ValueError(f"the weights of its versions add up to {percent}, which is more than 100 percent")
        ceiling, least = self.price.ceiling_usd_per_hour, sum(self.of(each).least_usd_per_hour for each in self.names)
        if ceiling is not None and least > Decimal(str(ceiling)):
            needed = f"the fewest replicas of its versions cost together, {float(least):g}"
            raise ValueError(f"price.ceiling_usd_per_hour is below what {needed}")
        return self

    @property
    def names(self) -> Sequence[str]:
        """Its versions, the one that it begins with first."""
        return (self.version, *self.versions)

    def of(self, version: str) -> BrainDefinition:
        """Return the brain as *version*, one of those it has, defines it."""
        if version == self.version:
            return self
        own = {name: getattr(self.versions[version], name) for name in BrainVersion.model_fields}
        return self.model_copy(update={**own, "version": version, "versions": {}})
