"""The manifest and the tests are held to each other, both ways."""

from __future__ import annotations

import re

import pytest

from tests.conformance import coverage
from tests.conformance.report import DOCUMENT, render
from tests.conformance.requirements import REQUIREMENTS

_ID = re.compile(r"[a-z]+(:[a-z0-9-]+){1,2}")


@pytest.fixture(scope="module")
def tests() -> dict[str, list[str]]:
    return coverage.tests()


def test_every_requirement_has_a_test_or_a_reason(tests: dict[str, list[str]]) -> None:
    held = {each for ids in tests.values() for each in ids}
    assert [each.id for each in REQUIREMENTS.values() if each.id not in held and not each.deferred] == []


def test_what_is_deferred_has_no_test_yet(tests: dict[str, list[str]]) -> None:
    held = {each for ids in tests.values() for each in ids}
    assert [each.id for each in REQUIREMENTS.values() if each.deferred and each.id in held] == []


def test_every_test_holds_a_requirement(tests: dict[str, list[str]]) -> None:
    assert [name for name, ids in tests.items() if not ids] == []
    assert len(tests) >= 90


def test_ids_are_well_formed_and_sources_named() -> None:
    assert [each.id for each in REQUIREMENTS.values() if not _ID.fullmatch(each.id)] == []
    source = re.compile(r"0|ours|[A-E]\.\d+|H-\d+")
    assert [each.id for each in REQUIREMENTS.values() if not source.fullmatch(each.source)] == []


def test_the_document_is_what_the_manifest_says(tests: dict[str, list[str]]) -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == render(tests), "run: python -m tests.conformance.report"
