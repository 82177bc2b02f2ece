"""Packages of environments: installed once in a sandbox of their own, mounted read-only into every other (spec A.2)."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agents.hands.packages.apt_files import copy_apt_files
from agents.hands.packages.recipes import MANAGERS, recipe, variables
from agents.hands.packages.settings import PackageSettings
from tests.unit.hands.conftest import Hands
from tests.unit.hands.egress_site import Site, host_with


def environment(**packages: list[str]) -> dict[str, Any]:
    networking = {"type": "limited", "allowed_hosts": [], "allow_package_managers": True}
    every = {manager: packages.get(manager, []) for manager in MANAGERS}
    return {"type": "cloud", "networking": networking, "packages": {"type": "packages", **every}}


@pytest.fixture
async def index() -> AsyncIterator[Site]:
    """A pip index, an npm registry and a repository of apt, each with the package ``greeting``."""
    site = Site()
    await site.start()
    base = f"http://index.test:{site.port}"
    wheel = _wheel()
    link = f'<a href="{base}/greeting-1.0-py3-none-any.whl#sha256={hashlib.sha256(wheel).hexdigest()}">greeting-1.0</a>'
    site.files["/simple/greeting/"] = link.encode()
    site.files["/greeting-1.0-py3-none-any.whl"] = wheel
    module = _npm_package()
    integrity = f"sha512-{base64.b64encode(hashlib.sha512(module).digest()).decode()}"
    dist = {"tarball": f"{base}/greeting.tgz", "integrity": integrity}
    versions = {"1.0.0": {"name": "greeting", "version": "1.0.0", "bin": {"greet-js": "cli.js"}, "dist": dist}}
    about = {"name": "greeting", "dist-tags": {"latest": "1.0.0"}, "versions": versions}
    site.files["/npm/greeting"] = json.dumps(about).encode()
    site.files["/greeting.tgz"] = module
    yield site
    await site.stop()


@pytest.fixture
async def hands(place: Path, index: Site) -> AsyncIterator[Hands]:
    base = f"http://index.test:{index.port}"
    indexes = {"pip": f"{base}/simple/", "npm": f"{base}/npm/", "apt": f"deb [trusted=yes] {base}/deb ./"}
    settings = PackageSettings.model_validate({"indexes": indexes})
    hands = await host_with(place, packages=settings, registries=["index.test"], sandbox={"warm": 1})
    yield hands
    await hands.host.stop()


async def test_packages_are_there_for_every_session_and_were_installed_once(hands: Hands, index: Site) -> None:
    hands.environment = environment(pip=["greeting==1.0"], npm=["greeting"])
    use = (
        '/usr/bin/python3 -c "import greeting; print(greeting.WORD)"; greet-py; greet-js;'
        " node -e 'console.log(require(\"greeting\").word)'; touch /opt/packages/pip/x; rm -r /opt/packages/npm"
    )
    for session in ("sesn_a", "sesn_b"):
        out = await hands.out(use, session=session)
        assert out.splitlines()[:4] == ["hello"] * 4, out
        assert out.count("Read-only file system") >= 2
    asked = len(index.requests)
    stats = hands.host.stats()
    assert (stats.layer_builds, stats.layer_failures) == (1, 0)
    assert stats.layer_build_seconds > 0
    await hands.out("true", session="sesn_c")
    assert len(index.requests) == asked
    (layer,) = hands.host._root.layers.iterdir()
    assert {path.stat().st_uid for path in layer.rglob("*")} == {os.geteuid()}


async def test_a_warm_sandbox_with_the_packages_is_there_for_the_next_session(hands: Hands) -> None:
    hands.environment = environment(pip=["greeting"])
    await hands.out("true", session="sesn_a")
    async with asyncio.timeout(20):
        while hands.host.stats().warm < 2:
            await asyncio.sleep(0.01)
    before = hands.host.stats()
    assert await hands.out("greet-py", session="sesn_b") == "hello"
    after = hands.host.stats()
    assert (after.claims - before.claims, after.warm_hits - before.warm_hits) == (1, 1)
    assert after.claim_seconds > before.claim_seconds


async def test_sessions_that_come_meanwhile_wait_for_the_same_build(hands: Hands) -> None:
    hands.environment = environment(pip=["greeting"])
    outs = await asyncio.gather(*(hands.out("greet-py", session=f"sesn_{number}") for number in range(4)))
    assert outs == ["hello"] * 4
    assert hands.host.stats().layer_builds == 1


async def test_a_failure_is_told_by_the_call_and_the_session_goes_on(hands: Hands) -> None:
    hands.environment = environment(pip=["unheard-of"])
    result = await hands.bash("true")
    assert result.is_error
    text = result.content[0]["text"]
    assert text.startswith(
        "The packages of this environment cannot be installed: installing the packages of pip failed"
    )
    assert "unheard-of" in text
    builds = hands.host.stats().layer_builds
    assert (await hands.bash("true")).is_error and hands.host.stats().layer_builds == builds, "not at every call"
    hands.environment = environment()
    assert await hands.out("echo fine") == "fine"
    assert hands.host.stats().layer_failures == 1
    assert list(hands.host._root.layers.iterdir()) == []


async def test_a_manager_that_is_not_installed_is_named(hands: Hands) -> None:
    import shutil

    missing = next(manager for manager in ("cargo", "gem", "go") if shutil.which(manager, path="/usr/bin:/bin") is None)
    hands.environment = environment(**{missing: ["x"]})
    text = (await hands.bash("true")).content[0]["text"]
    assert f"the program {missing} is not installed on this server" in text


async def test_other_packages_give_the_session_a_new_sandbox_and_it_is_told(hands: Hands) -> None:
    await hands.out("echo kept > f")
    hands.environment = environment(pip=["greeting"])
    out = await hands.batch(("bash", {"command": "greet-py; cat f"}))
    texts = [block["text"] for block in out[0].content]
    assert "the packages of its environment changed" in texts[0] and texts[1] == "hello\nkept"


async def test_a_build_that_takes_long_is_waited_for_by_later_calls(place: Path, index: Site) -> None:
    indexes = {"pip": f"http://index.test:{index.port}/simple/"}
    settings = PackageSettings.model_validate({"indexes": indexes, "wait_seconds": 0.001})
    hands = await host_with(place, packages=settings, registries=["index.test"])
    hands.environment = environment(pip=["greeting"])
    try:
        assert "still being installed" in (await hands.bash("true")).content[0]["text"]
        async with asyncio.timeout(60):
            while not list(hands.host._root.layers.iterdir()):
                await asyncio.sleep(0.02)
        assert await hands.out("greet-py") == "hello"
    finally:
        await hands.host.stop()


async def test_packages_of_apt_are_unpacked_beside_the_system(hands: Hands, index: Site, tmp_path: Path) -> None:
    _add_deb(index, tmp_path)
    hands.environment = environment(apt=["greeting"])
    assert await hands.out("greet-deb; command -v greet-deb") == "hello\n/opt/packages/apt/usr/bin/greet-deb"


async def test_layers_unused_longest_are_removed_while_those_in_use_stay(place: Path, index: Site) -> None:
    indexes = {"pip": f"http://index.test:{index.port}/simple/"}
    settings = PackageSettings.model_validate({"indexes": indexes, "keep_bytes": 1})
    hands = await host_with(place, packages=settings, registries=["index.test"])
    try:
        for number, words in enumerate((["greeting"], ["greeting==1.0"])):
            hands.environment = environment(pip=words)
            assert await hands.out("greet-py", session=f"sesn_{number}") == "hello"
        assert hands.host.stats().layers_evicted == 0, "both are in use"
        hands.environment = environment(pip=["greeting"])
        await hands.host.release("sesn_1", destroy=True)
        await hands.host.release("sesn_0", destroy=True)
        hands.environment = environment(pip=["greeting>=1"])
        assert await hands.out("greet-py", session="sesn_2") == "hello"
        assert hands.host.stats().layers_evicted == 2
    finally:
        await hands.host.stop()


# --- recipes ------------------------------------------------------------------------------------------------


def test_names_of_packages_are_never_options_or_commands() -> None:
    for manager in MANAGERS:
        script = recipe(manager, ["$(touch x)", "a;b"], None).script
        assert "'$(touch x)" in script and "'a;b" in script, manager


def test_every_manager_takes_an_index_and_is_found_by_programs() -> None:
    for manager in MANAGERS:
        assert "http://index.test/" in recipe(manager, ["x"], "http://index.test/").script, manager
        assert dict(variables({manager: ["x"]}))["PATH"].startswith(f"/opt/packages/{manager}/")
    assert recipe("go", ["example.com/a", "example.com/b@v1"], None).script.endswith(
        "a@latest\ngo install example.com/b@v1"
    )


def test_passwords_of_the_system_are_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    etc = tmp_path / "apt"
    (etc / "sources.list.d").mkdir(parents=True)
    (etc / "sources.list.d" / "open.list").write_text("deb http://deb.example.com/ ./\n")
    (etc / "sources.list.d" / "closed.list").write_text("deb http://user:secret@deb.example.com/ ./\n")
    (etc / "auth.conf").write_text("secret")
    monkeypatch.setattr("agents.hands.packages.apt_files._ETC", etc)
    copy_apt_files(tmp_path / "copy")
    copied = {
        path.name: path.read_text(errors="replace")
        for path in (tmp_path / "copy" / "etc").rglob("*.*")
        if path.is_file()
    }
    assert copied == {"open.list": "deb http://deb.example.com/ ./\n"}


# --- the package --------------------------------------------------------------------------------------------


def _wheel() -> bytes:
    made = io.BytesIO()
    info = "greeting-1.0.dist-info"
    files = {
        "greeting.py": "WORD = 'hello'\ndef main():\n    print(WORD)\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ngreet-py = greeting:main\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return made.getvalue()


def _npm_package() -> bytes:
    made = io.BytesIO()
    about = {"name": "greeting", "version": "1.0.0", "main": "index.js", "bin": {"greet-js": "cli.js"}}
    files = {
        "package/package.json": json.dumps(about),
        "package/index.js": "exports.word = 'hello'\n",
        "package/cli.js": "#!/usr/bin/env node\nconsole.log('hello')\n",
    }
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return made.getvalue()


def _add_deb(index: Site, scratch: Path) -> None:
    tree = scratch / "greeting"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr" / "bin").mkdir(parents=True)
    program = tree / "usr" / "bin" / "greet-deb"
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    control = "Package: greeting\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\n"
    (tree / "DEBIAN" / "control").write_text(f"{control}Description: says hello\n")
    subprocess.run(
        ["dpkg-deb", "-b", "--root-owner-group", str(tree), str(scratch / "g.deb")], check=True, capture_output=True
    )
    deb = (scratch / "g.deb").read_bytes()
    entry = f"Filename: ./greeting.deb\nSize: {len(deb)}\nSHA256: {hashlib.sha256(deb).hexdigest()}\n"
    index.files["/deb/greeting.deb"] = index.files["/deb/./greeting.deb"] = deb
    packages = f"{control}{entry}Description: says hello\n\n".encode()
    index.files["/deb/./Packages.gz"] = index.files["/deb/Packages.gz"] = gzip.compress(packages)
    index.files["/deb/./Packages"] = index.files["/deb/Packages"] = packages
