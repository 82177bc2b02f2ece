"""docs/configuration.md says what the settings are (ours)."""

from __future__ import annotations

from pathlib import Path

from agents.brain_settings import BrainDefinition
from agents.commands.settings_reference import main, reference
from agents.setting_keys import setting_keys

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_page_in_the_repository_is_the_one_that_the_settings_write() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run: make docs"


def test_every_setting_has_a_row() -> None:
    page = reference()
    assert [key for key, _ in setting_keys() if f"| `{key}` |" not in page] == []


def test_every_key_of_a_brain_has_a_row() -> None:
    page = reference()
    keys = [key for key, _ in setting_keys(BrainDefinition, "brains.NAME.")]
    assert "brains.NAME.scaling.burst.usd_per_hour" in keys
    assert [key for key in keys if f"| `{key}` |" not in page] == []


def test_defaults_limits_choices_and_secrets_are_told() -> None:
    page = reference()
    assert "| `port` | `8123` | TCP port of the REST API. (≥ 1, ≤ 65535) |" in page
    assert "one of `bubblewrap`, `process`, `none`" in page
    assert "(secret)" in page


def test_the_page_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    main([str(tmp_path / "page.md")])
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == reference()
