"""The commands that start inference servers.

Sources of the flags: the servers' own documentation. Bug class this catches: a flag that silently goes missing, and
arguments with braces that are taken for places to fill in.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.brain_settings import BrainDefinition
from agents.brains.port import EngineUnusable
from agents.brains.server.presets import command_for, find_program, preset_of


def declared(model: str = "Qwen/Qwen3-8B", **server: Any) -> BrainDefinition:
    return BrainDefinition.model_validate(
        {
            "engine": "server",
            "model": model,
            "resources": {"num_gpus": 1, "tensor_parallel": 2},
            "capabilities": {"context_tokens": 32768},
            "server": server,
        }
    )


@pytest.mark.parametrize(
    ("definition", "command"),
    [
        (
            declared(arguments=["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]),
            "vllm serve Qwen/Qwen3-8B --served-model-name Qwen/Qwen3-8B --host 127.0.0.1 --port 4711 "
            "--tensor-parallel-size 2 --max-model-len 32768 --enable-auto-tool-choice --tool-call-parser hermes",
        ),
        (
            declared(preset="sglang"),
            "sglang serve --model-path Qwen/Qwen3-8B --served-model-name Qwen/Qwen3-8B --host 127.0.0.1 --port 4711 "
            "--tp-size 2 --context-length 32768 --enable-metrics",
        ),
        (
            declared("/models/qwen.gguf", preset="llama.cpp"),
            "llama-server --model /models/qwen.gguf --alias /models/qwen.gguf --host 127.0.0.1 --port 4711 "
            "--ctx-size 32768 --jinja --metrics",
        ),
        (
            declared("ggml-org/qwen-GGUF:Q4_K_M", preset="llama.cpp"),
            "llama-server --hf-repo ggml-org/qwen-GGUF:Q4_K_M --alias ggml-org/qwen-GGUF:Q4_K_M --host 127.0.0.1 "
            "--port 4711 --ctx-size 32768 --jinja --metrics",
        ),
        (
            declared(command=["mine", "--at={host}:{port}", "--tp={tensor_parallel}", "{model}", "{context_tokens}"]),
            "mine --at=127.0.0.1:4711 --tp=2 Qwen/Qwen3-8B 32768",
        ),
    ],
)
def test_a_declaration_becomes_a_command(definition: BrainDefinition, command: str) -> None:
    assert command_for(definition, 4711) == command.split()


def test_braces_of_json_arguments_stay() -> None:
    given = '{"enable_thinking": false}'
    assert command_for(declared(arguments=["--chat-template-kwargs", given]), 1)[-1] == given


def test_paths_of_a_declaration_go_before_those_of_the_preset() -> None:
    assert (preset_of(declared()).health_path, preset_of(declared()).metrics_path) == ("/health", "/metrics")
    own = preset_of(declared(health_path="/ready", metrics_path="/m"))
    assert (own.health_path, own.metrics_path) == ("/ready", "/m")


@pytest.mark.parametrize(
    ("server", "told"),
    [
        ({}, r"the program vllm is not on .*PATH: pip install 'hecaton\[vllm\]'"),
        ({"preset": "sglang"}, "the program sglang is not on .*pip install sglang"),
        ({"preset": "llama.cpp"}, "the program llama-server is not on .*release of llama.cpp"),
        ({"command": ["no-such-server"]}, "the program no-such-server is not on .*server.command"),
    ],
)
def test_a_missing_program_is_named_with_what_to_do(
    server: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(EngineUnusable, match=told):
        find_program(declared(**server), {"PATH": str(tmp_path)})


def test_a_program_beside_the_interpreter_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "vllm"
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert find_program(declared(), {"PATH": os.devnull}) == str(program)
