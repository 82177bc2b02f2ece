"""A model and its tokenizer, loaded; or what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from agents.brain_settings import BrainDefinition
from agents.brains.port import EngineUnusable
from agents.brains.transformers.batch import CausalModel
from agents.brains.transformers.tokenizer import ChatTokenizer, PretrainedTokenizer

# Hardly typed by transformers: what they give is named where they are used.
_MODELS: Any = AutoModelForCausalLM
_TOKENIZERS: Any = AutoTokenizer
_SHOWN_CHARACTERS = 500
_SHOWN_NAMES = 3


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the engine thinks with."""

    model: CausalModel
    tokenizer: ChatTokenizer
    device: str
    context_tokens: int


def load(definition: BrainDefinition) -> Loaded:
    """Load what a brain's definition names; takes as long as the weights are large. Raises EngineUnusable."""
    name = str(definition.model)
    device = _device(definition)
    # Bars of progress make no sense in a replica's log.
    logging.disable_progress_bar()
    _check_folder(name)
    try:
        pretrained: PretrainedTokenizer = _TOKENIZERS.from_pretrained(name, trust_remote_code=False)
        model = _model(name, definition, device)
    except EngineUnusable:
        raise
    except Exception as error:
        # The loaders raise whatever their many formats and the hub's client raise.
        what = " ".join(str(error).split())[:_SHOWN_CHARACTERS]
        raise EngineUnusable(f"the model {name!r} cannot be loaded: {what}") from error
    tokenizer = ChatTokenizer(pretrained, stops=_stops(model), thinking=definition.capabilities.thinking)
    trained = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    most = definition.capabilities.context_tokens
    return Loaded(cast(CausalModel, model), tokenizer, device, min(most, trained or most))


def _device(definition: BrainDefinition) -> str:
    wanted = definition.transformers.device
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise EngineUnusable("transformers.device is cuda, but PyTorch sees no GPU here: give the brain num_gpus")
    if wanted == "auto":
        return "cuda" if available else "cpu"
    return wanted


def _check_folder(name: str) -> None:
    """A folder that is not there would be looked for on the hub."""
    if name.startswith(("/", ".", "~")) and not Path(name).is_dir():
        raise EngineUnusable(f"there are no weights at {name}: no such folder")


def _model(name: str, definition: BrainDefinition, device: str) -> Any:
    dtype = definition.transformers.dtype
    if dtype == "auto" and device == "cpu":
        dtype = "float32"
    model, report = _MODELS.from_pretrained(name, dtype=dtype, output_loading_info=True, trust_remote_code=False)
    missing = sorted(cast("Iterable[str]", report["missing_keys"]))
    if missing:
        shown = ", ".join(missing[:_SHOWN_NAMES])
        raise EngineUnusable(f"the weights of {name!r} lack {len(missing)} tensors ({shown}, ...)")
    return model.to(device).eval()


def _stops(model: Any) -> list[int]:
    named: int | list[int] | None = model.generation_config.eos_token_id
    return [] if named is None else [named] if isinstance(named, int) else named
