"""Writes docs/configuration.md from the settings themselves, so that it cannot be wrong about them.

``python -m agents.commands.settings_reference docs/configuration.md``; a test compares the file.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from agents.brain_settings import BrainDefinition
from agents.config import Settings
from agents.hand_settings import HandDefinition
from agents.setting_keys import is_secret, setting_keys, variable_of
from agents.settings_loading import INTERNAL_VARIABLES

_HEAD = """\
# Configuration

<!-- Written by `make docs` from agents/config.py; do not edit. -->

One `Settings` configures everything. A value is looked for in this order, and the first one found counts:

1. a command-line flag (`--port 9000`, or `--set KEY=VALUE` for any setting: `--set sandbox.warm=0`);
2. an environment variable: `HECATON_` and the key in capitals, with `__` for the dot
   (`HECATON_SANDBOX__WARM=0`); an empty variable counts as unset;
3. the YAML file named by `--config` or `HECATON_CONFIG`;
4. the default.

```yaml
# hecaton.yaml
port: 9000
sandbox:
  warm: 0
```

An unknown key, in whichever of these places, stops start-up: the message names it, where it came from, and the
nearest key that exists. Relative paths start at the working directory. Secrets are never shown.

Two variables of the Anthropic SDK serve as a fallback for the brain: `ANTHROPIC_API_KEY` for `anthropic_api_key`
and `ANTHROPIC_BASE_URL` for `brain.base_url`.
"""


def reference() -> str:
    """Return the whole page."""
    internal = ", ".join(f"`{name}`" for name in sorted(INTERNAL_VARIABLES))
    sections: dict[str, list[tuple[str, FieldInfo]]] = {}
    for key, info in setting_keys():
        sections.setdefault(key.rpartition(".")[0], []).append((key, info))
    pages = [_section(name, rows) for name, rows in sections.items()]
    for section, entry in (("brains", BrainDefinition), ("hands", HandDefinition)):
        pages.append(_table(f"`{section}.NAME`", _about(entry), list(setting_keys(entry, f"{section}.NAME."))))
    return "\n".join([_HEAD, *pages, f"Not settings, and left alone: {internal}.\n"])


def _section(name: str, rows: list[tuple[str, FieldInfo]]) -> str:
    if not name:
        return _table("Server", "", rows)
    return _table(f"`{name}`", _about(_model_of(name)), rows)


def _model_of(section: str) -> object:
    """Return the model of a section by its dotted name."""
    model: Any = Settings
    for name in section.split("."):
        model = model.model_fields[name].annotation
    return model


def _about(model: object) -> str:
    return (model.__doc__ or "").strip().replace("``", "`")


def _table(title: str, about: str, rows: list[tuple[str, FieldInfo]]) -> str:
    lines = [f"## {title}", *(["", about] if about else []), "", "| key | default | meaning |", "|---|---|---|"]
    lines += [f"| `{key}` | {_default(info)} | {_meaning(info)} |" for key, info in rows]
    example = rows[0][0]
    return "\n".join([*lines, "", f"As a variable, for example: `{variable_of(example)}`.", ""])


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is None or value == {}:
        return "unset"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _meaning(info: FieldInfo) -> str:
    text = " ".join((info.description or "").split()).replace("``", "`").replace("|", "\\|")
    text = re.sub(r" \(spec [A-Z.0-9]+\)", "", text)  # for readers of the code
    limits = ", ".join(part for part in (_choices(info), *_bounds(info.metadata), _secrecy(info)) if part)
    return f"{text} ({limits})" if limits else text


def _choices(info: FieldInfo) -> str:
    if get_origin(info.annotation) is not Literal:
        return ""
    return "one of " + ", ".join(f"`{choice}`" for choice in get_args(info.annotation))


def _bounds(metadata: list[Any]) -> list[str]:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    return [f"{sign} {getattr(mark, name)}" for mark in metadata for name, sign in signs.items() if hasattr(mark, name)]


def _secrecy(info: FieldInfo) -> str:
    return "secret" if is_secret(info) else ""


def main(arguments: list[str]) -> None:
    """Write the page to the file named by the only argument."""
    Path(arguments[0]).write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
