"""What every section of the settings is made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints


def absolute(path: Path) -> Path:
    """Return *path* from the root on, ``~`` resolved. Raises ValueError when there is no such home."""
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(f"{path} is no path: {error}") from None


# Children (Ray workers, sandboxes) have other working directories, so no relative path may travel.
AbsolutePath = Annotated[Path, AfterValidator(absolute)]

PASSWORD_IN_URL = re.compile(r"://[^/\s]*@")
"""A user's name and password, which some settings must not have, and nobody is to be shown."""

KeyName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


class Section(BaseModel):
    """Settings that belong together; unknown keys are faults, and what is described here is documented from here."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)


def as_mapping(value: object) -> Mapping[Any, Any] | None:
    """Return *value* when it is a mapping, else None."""
    return cast("Mapping[Any, Any]", value) if isinstance(value, Mapping) else None


def laid_over(below: Any, above: Any) -> Any:
    """Return *above*; of mappings, at whatever depth, what only *below* says is kept."""
    lower, higher = as_mapping(below), as_mapping(above)
    if lower is None or higher is None:
        return above
    return {**lower, **{name: laid_over(lower.get(name), value) for name, value in higher.items()}}
