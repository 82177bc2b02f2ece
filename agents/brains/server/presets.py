"""The inference servers that are known, and the command that starts one.

Sources: ``vllm serve --help``, ``sglang serve --help`` and ``llama-server --help`` with their servers' documentation.
All three answer ``POST /v1/messages``. What depends on the model, such as the parser of tool calls, is left to
``server.arguments``.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.brain_settings import BrainDefinition
from agents.brains.port import EngineUnusable

LOOPBACK = "127.0.0.1"
_GGUF = ".gguf"


@dataclass(frozen=True, slots=True)
class Preset:
    """How one inference server is started, asked and installed."""

    command: Sequence[str]
    install: str
    """What to do when the program is missing."""
    health_path: str = "/health"
    metrics_path: str = "/metrics"


PRESETS: Mapping[str, Preset] = {
    "vllm": Preset(
        command=(
            *("vllm", "serve", "{model}", "--served-model-name", "{model}", "--host", "{host}", "--port", "{port}"),
            *("--tensor-parallel-size", "{tensor_parallel}", "--max-model-len", "{context_tokens}"),
        ),
        install="pip install 'hecaton[vllm]'",
    ),
    "sglang": Preset(
        command=(
            *("sglang", "serve", "--model-path", "{model}", "--served-model-name", "{model}"),
            *("--host", "{host}", "--port", "{port}", "--tp-size", "{tensor_parallel}"),
            *("--context-length", "{context_tokens}", "--enable-metrics"),
        ),
        install="pip install sglang",
    ),
    # It spreads a model over all GPUs that it sees by itself.
    "llama.cpp": Preset(
        command=(
            *("llama-server", "{model_source}", "{model}", "--alias", "{model}", "--host", "{host}"),
            *("--port", "{port}", "--ctx-size", "{context_tokens}", "--jinja", "--metrics"),
        ),
        install="take llama-server from a release of llama.cpp, or build it",
    ),
}


def preset_of(definition: BrainDefinition) -> Preset:
    """Return the preset of a declaration, with the paths that it sets itself."""
    server, preset = definition.server, PRESETS[definition.server.preset]
    return Preset(
        command=(*(server.command or preset.command), *server.arguments),
        install="install it, or put its path into server.command" if server.command else preset.install,
        health_path=server.health_path or preset.health_path,
        metrics_path=server.metrics_path or preset.metrics_path,
    )


def command_for(definition: BrainDefinition, port: int) -> list[str]:
    """Return the command that serves a declared model on *port* of the loopback interface."""
    model = definition.model or ""
    known = {
        "{model}": model,
        "{model_source}": "--model" if model.endswith(_GGUF) else "--hf-repo",
        "{host}": LOOPBACK,
        "{port}": str(port),
        "{tensor_parallel}": str(definition.resources.tensor_parallel),
        "{context_tokens}": str(definition.capabilities.context_tokens),
    }
    return [_filled(part, known) for part in preset_of(definition).command]


def find_program(definition: BrainDefinition, environment: Mapping[str, str]) -> str:
    """Return where the server's program is: on PATH, or beside this interpreter. Raises EngineUnusable."""
    preset = preset_of(definition)
    name = preset.command[0]
    beside = os.path.dirname(sys.executable)
    found = shutil.which(name, path=environment.get("PATH")) or shutil.which(name, path=beside)
    if found is None:
        raise EngineUnusable(f"the program {name} is not on this machine's PATH: {preset.install}")
    return found


def _filled(part: str, known: Mapping[str, str]) -> str:
    # Not str.format: arguments may be JSON, whose braces mean nothing here.
    for name, value in known.items():
        part = part.replace(name, value)
    return part
