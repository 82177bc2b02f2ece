"""Figures of rounds come back as they went in, and a broken file says where it is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.errors import InvalidRequest
from agents.experiments.figures_of_rounds import FiguresFile, RoundFigures, gpu_seconds

FIGURES = RoundFigures(
    topology="decoupled",
    arrivals="poisson",
    load=2.5,
    round=0,
    seconds=15.0,
    gpus=2,
    gpu_busy_seconds=21.0,
    hands=4.5,
    hand_busy_seconds=9.25,
    usd=0.0213,
)


def test_figures_come_back_as_they_were(tmp_path: Path) -> None:
    file = FiguresFile(tmp_path / "deep" / "figures.jsonl")
    rounds = [FIGURES.model_copy(update={"round": number}) for number in range(3)]
    for each in rounds:
        file.add(each)
    assert file.read() == rounds


def test_gpus_of_which_nothing_is_known_are_not_counted(tmp_path: Path) -> None:
    file = FiguresFile(tmp_path / "figures.jsonl")
    file.add(FIGURES)
    file.add(FIGURES.model_copy(update={"round": 1, "gpu_busy_seconds": None}))
    known, unknown = file.read()
    assert unknown.gpu_busy_seconds is None
    assert gpu_seconds([known, unknown]) == (21.0, 30.0)
    assert gpu_seconds([unknown]) == (0, 0)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ('{"topology": 1}', "line 2: topology: "),
        ("no JSON", "line 2: the line: "),
        (FIGURES.model_copy(update={"seconds": 0.0}).model_dump_json(), "line 2: seconds: "),
        (FIGURES.model_copy(update={"gpus": -1}).model_dump_json(), "line 2: gpus: "),
    ],
)
def test_a_broken_file_names_line_and_field(tmp_path: Path, fault: str, message: str) -> None:
    path = tmp_path / "figures.jsonl"
    path.write_text(f"{FIGURES.model_dump_json()}\n{fault}\n")
    with pytest.raises(InvalidRequest) as caught:
        FiguresFile(path).read()
    assert message in str(caught.value)
