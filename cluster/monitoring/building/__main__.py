"""``python -m cluster.monitoring.building``: writes the generated files."""

from __future__ import annotations

from pathlib import Path

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from cluster.monitoring.building.objectives import objective_rules
from cluster.monitoring.building.pages import PAGES

_HOME = Path(__file__).parents[1]
_HEAD = "# Written by python -m cluster.monitoring.building (objectives.py says what is promised): change it there.\n"


class _Blocks(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Blocks.add_representer(str, _text)


def files() -> dict[Path, str]:
    """Return the text of every generated file by its path."""
    encoder = JSONEncoder(sort_keys=True, indent=2)
    made = {
        _HOME / "dashboards" / f"{name}.json": encoder.encode(make().build()) + "\n" for name, make in PAGES.items()
    }
    rules = yaml.dump(objective_rules(), Dumper=_Blocks, sort_keys=False, width=120)
    made[_HOME / "rules" / "objectives.yaml"] = _HEAD + rules
    return made


def main() -> None:
    """Write the files."""
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
