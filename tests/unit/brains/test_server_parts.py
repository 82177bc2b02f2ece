"""Output, environment and restarts of an inference server, each by itself."""

from __future__ import annotations

from agents.brains.server.environment import child_environment, mask_for
from agents.brains.server.output import Output
from agents.brains.server.restarts import RestartBudget
from agents.clock import ManualClock


def test_output_becomes_lines_whatever_its_pieces() -> None:
    lines: list[str] = []
    output = Output(lines.append)
    for piece in ("größe\nlo".encode()[:4], "größe\nlo".encode()[4:], b"ading 10 %\rloading 20 %\r\n\n", b"last"):
        output.feed(piece)
    output.finish()
    assert lines == ["größe", "loading 10 %", "loading 20 %", "last"]
    assert output.last_lines() == "\n".join(lines)


def test_output_is_bounded() -> None:
    lines: list[str] = []
    output = Output(lines.append)
    output.feed(b"x" * 1_000_000)
    for number in range(10_000):
        output.feed(b"line %d\n" % number)
    assert max(map(len, lines)) <= 2_000
    kept = output.last_lines()
    assert kept.endswith("line 9999")
    assert len(kept) <= 3_000


def test_secrets_of_the_environment_do_not_get_into_lines() -> None:
    lines: list[str] = []
    environment = {"HF_TOKEN": "hf_abcdefgh", "AWS_SECRET_ACCESS_KEY": "hf_abcdefgh+more", "MODEL": "qwen3-8b"}
    Output(lines.append, mask=mask_for(environment)).feed(b"login hf_abcdefgh, hf_abcdefgh+more for qwen3-8b\n")
    assert lines == ["login [HF_TOKEN], [AWS_SECRET_ACCESS_KEY] for qwen3-8b"]


def test_keys_and_settings_of_the_platform_are_withheld() -> None:
    inherited = {
        "PATH": "/bin",
        "CUDA_VISIBLE_DEVICES": "1,3",
        "HF_TOKEN": "hf_abcdefgh",
        "ANTHROPIC_API_KEY": "sk-1",
        "ANTHROPIC_AUTH_TOKEN": "sk-2",
        "HECATON_DATABASE": "postgresql://user:password@host/db",
        "OPENAI_API_KEY": "sk-3",
        "VLLM_API_KEY": "sk-4",
    }
    assert child_environment(inherited, {"PATH": "/opt/bin", "OMP_NUM_THREADS": "8"}) == {
        "PATH": "/opt/bin",
        "CUDA_VISIBLE_DEVICES": "1,3",
        "HF_TOKEN": "hf_abcdefgh",
        "OMP_NUM_THREADS": "8",
    }


def test_restarts_come_later_and_later_until_there_have_been_too_many() -> None:
    clock = ManualClock()
    budget = RestartBudget(8, clock)
    assert [budget.take() for _ in range(9)] == [0, 1, 2, 4, 8, 16, 30, 30, None]
    clock.advance(599)
    assert budget.take() is None
    clock.advance(1)
    assert budget.take() == 0


def test_a_budget_of_none_allows_none() -> None:
    assert RestartBudget(0, ManualClock()).take() is None
