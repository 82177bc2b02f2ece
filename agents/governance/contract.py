"""What the provider of a hand promises and asks, for one version of it.

A contract is a YAML document (docs/governance.md). It is all that the platform knows of a hand before it runs: what
its tools take and give, what may be repeated, how much may be asked of it at a time, and what a call costs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from agents.brain_settings import Version
from agents.catalog.domains import check_hosts
from agents.catalog.limits import TOOL_NAME_CHARS, TOOLS
from agents.errors import HecatonError, InvalidRequest
from agents.governance.schemas import InvalidSchema, check_schema
from agents.settings_base import KeyName, Section

MAX_BYTES = 1 << 20
"""Of a contract as text."""
_MAX_FAULTS = 20
_DAY = 86_400

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")]
ToolName = Annotated[str, StringConstraints(pattern=rf"^[A-Za-z0-9_.-]{{1,{TOOL_NAME_CHARS}}}$")]
Usd = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=9)]
"""US dollars, exact to a billionth."""
Part = Annotated[Decimal, Field(ge=0, le=1, decimal_places=9)]
"""A part of a whole, exact: 0.7 is seven tenths."""

SideEffects = Literal["none", "idempotent", "destructive"]


class InvalidContract(HecatonError):
    """The contract cannot be used; the message has one line per fault, which names the field."""

    code = "invalid_request_error"
    http_status = 400


class ToolContract(Section):
    """What one tool takes and gives."""

    description: str = Field(default="", max_length=10_000)
    input: dict[str, Any]
    """JSON Schema of its input: an object."""
    output: dict[str, Any] | None = None
    """JSON Schema of its structured result; unset, nothing is promised of it."""
    side_effects: SideEffects = "destructive"
    """``none``: it only reads. ``idempotent``: once or twice is the same. ``destructive``: neither of them."""

    @field_validator("input", "output")
    @classmethod
    def _is_schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is not None:
            try:
                check_schema(schema)
            except InvalidSchema as error:
                raise ValueError(str(error)) from error
        return schema

    @field_validator("input")
    @classmethod
    def _takes_objects(cls, schema: dict[str, Any]) -> dict[str, Any]:
        if schema.get("type") != "object":
            raise ValueError("type: must be 'object'; the input of a tool is an object")
        return schema

    @property
    def repeatable(self) -> bool:
        """Whether a call may be made again when nobody knows if it took effect."""
        return self.side_effects != "destructive"


class Sla(Section):
    """What is promised of the calls of a window, up to now, all tools together."""

    p95_seconds: float = Field(default=5.0, gt=0, le=3600)
    """95 of 100 calls are answered within this time, waiting included."""
    availability: float = Field(default=0.99, ge=0, lt=1)
    """Part of the calls that are answered at all, be it by an error of the tool."""
    error_rate: float = Field(default=0.1, gt=0, le=1)
    """Part of the answered calls that may be an error of the tool."""
    window_seconds: int = Field(default=30 * _DAY, ge=60, le=31 * _DAY)
    """The report is of so long. A version on trial is judged by no more than the last hour of it."""
    min_calls: int = Field(default=20, ge=1)
    """It is judged by no fewer calls."""
    after_promotion_seconds: float = Field(default=3600.0, ge=0)
    """A promoted version is judged for so long, too, and gives way to the one before it; 0: not at all."""


class Limits(Section):
    """How much may be asked of the hand. What goes beyond is refused and never reaches it."""

    calls_per_minute: int = Field(default=60_000, ge=1, le=10_000_000)
    """By all sessions together."""
    concurrent_calls: int = Field(default=1024, ge=1, le=100_000)
    """That run or wait at a time."""
    input_bytes: int = Field(default=1 << 20, ge=1, le=64 << 20)
    """Of one call's input as JSON."""
    output_bytes: int = Field(default=16 << 20, ge=1, le=1 << 30)
    """Of one call's result as JSON."""


class Price(Section):
    """What a call costs, and whose it is. Everything adds up; nothing is charged that is not said."""

    per_call: Usd = Decimal(0)
    per_cpu_second: Usd = Decimal(0)
    per_mb: Usd = Decimal(0)
    """Of a million bytes, input and result together."""
    cached_rate: Part = Decimal(0)
    """Part of ``per_call`` that a call costs which was answered from the cache of results."""
    provider_share: Part = Decimal(1)
    """Part of the price that is the provider's; the rest is the platform's."""


class Contract(Section):
    """The contract of one version of a hand."""

    hand: KeyName
    version: Version
    description: str = Field(default="", max_length=10_000)
    tools: dict[ToolName, ToolContract] = Field(min_length=1, max_length=TOOLS)
    sla: Sla = Sla()
    limits: Limits = Limits()
    data_classes: tuple[Name, ...] = Field(default=(), max_length=64)
    """Kinds of data that it works on, such as ``customer`` or ``payment``."""
    egress: tuple[str, ...] = ()
    """Hosts that it calls; a version that calls more of them is another contract."""
    secrets: tuple[Name, ...] = Field(default=(), max_length=64)
    """Names of the credentials that it needs, never their values."""
    price: Price = Price()

    @field_validator("version", mode="before")
    @classmethod
    def _is_text(cls, version: object) -> object:
        if isinstance(version, float):
            raise ValueError("is a number; put it in quotes, or 1.10 and 1.1 are the same")
        return version

    @field_validator("egress")
    @classmethod
    def _are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        try:
            check_hosts("egress", hosts)
        except InvalidRequest as error:
            raise ValueError(error.message.removeprefix("egress")) from error
        return hosts

    @model_validator(mode="after")
    def _says_each_once(self) -> Self:
        for field in ("data_classes", "egress", "secrets"):
            entries: tuple[str, ...] = getattr(self, field)
            if (twice := next((each for each in entries if entries.count(each) > 1), None)) is not None:
                raise ValueError(f"{field}: {twice!r} is listed twice")
        return self

    @property
    def id(self) -> str:
        """``crm@1.4``."""
        return f"{self.hand}@{self.version}"

    @classmethod
    def of(cls, value: object, source: str) -> Contract:
        """Return *value*, which was read from *source*, as a contract. Raises InvalidContract."""
        if not isinstance(value, Mapping):
            raise InvalidContract(f"{source}: must hold a contract as 'key: value' lines (hand, version, tools, ...)")
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise InvalidContract("\n".join(f"{source}: {fault}" for fault in _faults(error))) from error

    @classmethod
    def parse(cls, text: str, source: str) -> Contract:
        """Return the contract that the YAML *text* of *source* is. Raises InvalidContract."""
        if len(text.encode()) > MAX_BYTES:
            raise InvalidContract(f"{source}: is longer than {MAX_BYTES} bytes")
        try:
            value: object = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InvalidContract(f"{source}: is not YAML: {error}") from error
        return cls.of(value, source)

    def text(self) -> str:
        """Return it as YAML with everything that differs from the defaults; ``parse`` makes the same of it again."""
        body = self.model_dump(mode="json", exclude_defaults=True)
        return yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=100)


def _faults(error: ValidationError) -> Iterator[str]:
    details = error.errors(include_url=False, include_context=False)
    for detail in details[:_MAX_FAULTS]:
        where = ".".join(str(part) for part in detail["loc"] if part != "[key]")
        message = re.sub(r"^Value error, ", "", detail["msg"])
        got = "" if isinstance(detail["input"], Mapping | list | tuple) else f" (got {detail['input']!r:.80})"
        yield f"{where}: {message}{got}" if where else f"{message}"
    if len(details) > _MAX_FAULTS:
        yield f"and {len(details) - _MAX_FAULTS} more faults"
