"""The chain's formulas: what a third party computes must never change (ours)."""

from __future__ import annotations

from hashlib import sha256

import pytest

from agents.config import InvalidSettings
from agents.governance.audit.chain import (
    entry_link,
    event_digest,
    hidden_digest,
    leaves_digest,
    link,
    session_link,
    thread_mark,
)
from agents.governance.audit.checkpoint import Checkpoint, is_signed, place_of, sign, signing_key
from agents.settings_loading import load_settings


def test_the_formulas_are_those_of_the_documentation() -> None:
    text = 'sesn_1\n3\nsevt_1\nagent.message\n1700000000000000\n{"a":1}\n'
    digest = event_digest("sesn_1", 3, "sevt_1", "agent.message", 1_700_000_000_000_000, '{"a":1}', "")
    assert digest == sha256(text.encode()).hexdigest()
    assert event_digest("s", 1, "e", "t", None, "{}", "h") == sha256(b"s\n1\ne\nt\n\n{}\nh").hexdigest()
    child = event_digest("s", 1, "e", "t", None, "{}", "h", thread_mark("sthr_1", 1))
    assert child == sha256(b"s\n1\ne\nt\n\n{}\nh\nsthr_1 crossposted").hexdigest()
    assert (thread_mark(None, None), thread_mark("sthr_1", None)) == ("", "sthr_1")
    assert hidden_digest(None) == "" and hidden_digest("{}") == sha256(b"{}").hexdigest()
    assert session_link("sesn_1") == sha256(b"hecaton session sesn_1").hexdigest()
    assert link("ab", "cd") == sha256(b"abcd").hexdigest()
    assert entry_link("ab", "{}") == sha256(b"ab\n{}").hexdigest()
    lines = [("b", 2, "h2", True), ("a", 1, "h1", False)]
    assert leaves_digest(lines) == sha256(b"a 1 h1\nb 2 h2 deleted").hexdigest()


def test_nothing_can_move_from_one_field_of_an_event_into_another() -> None:
    one = event_digest("s", 1, "e", "t", 1, "{}", "x")
    assert one != event_digest("s", 1, "e", "t", 1, "{}\nx", "")
    assert one != event_digest("s\n1", 1, "e", "t", 1, "{}", "x")


def test_a_signature_holds_for_its_checkpoint_and_key_alone() -> None:
    checkpoint = Checkpoint(7, "ab" * 32, "2026-11-22T00:00:00Z")
    signature, public = sign(checkpoint, signing_key("01" * 32))
    assert is_signed(checkpoint, signature, public)
    assert not is_signed(Checkpoint(8, checkpoint.hash, checkpoint.at), signature, public)
    assert not is_signed(checkpoint, signature, sign(checkpoint, signing_key("02" * 32))[1])
    assert not is_signed(checkpoint, "no hex", public)


def test_a_head_is_a_hash_with_or_without_its_place() -> None:
    assert place_of("ab" * 32) == (None, "ab" * 32)
    assert place_of(f" 12:{'ab' * 32}\n") == (12, "ab" * 32)
    with pytest.raises(ValueError, match="64 hexadecimal"):
        place_of("12:ab")


def test_a_bad_signing_key_stops_the_settings_without_being_shown() -> None:
    with pytest.raises(InvalidSettings, match="64 hexadecimal") as refused:
        load_settings(None, {"audit.signing_key": "s3cret"})
    assert "s3cret" not in str(refused.value)
