"""What every section of the settings is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


# Children (Ray workers, sandboxes) have other working directories, so no relative path may travel.
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]

KeyName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


class Section(BaseModel):
    """Settings that belong together; unknown keys are faults, and what is described here is documented from here."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)
