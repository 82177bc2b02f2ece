"""Cloud environments at work: networking, packages, and variables of vaults in sandboxes (spec A.2, A.8, E.4)."""

from __future__ import annotations

from typing import Any

from anthropic import Anthropic

from tests.conformance.requirements import requirement
from tests.conformance.scene import Json, Scene, bash, calls, of_type, ordered_results, says, text_of, toolset

SECRET = "canary-environment-variable"


async def environment(scene: Scene, config: Json) -> str:
    name = f"{scene.mark}-{len(str(config))}"
    return (await scene.client.beta.environments.create(name=name, config={"type": "cloud", **config})).id  # type: ignore[arg-type]


async def ran(scene: Scene, config: Json, *commands: str, **params: Any) -> list[Json]:
    """Run commands one after the other in a new session on an environment with this config; returns its log."""
    await scene.answers(*(calls(bash(command)) for command in commands), says("done"))
    session = await scene.session(toolset(), environment_id=await environment(scene, config), **params)
    return await scene.turn(session)


def limited(*hosts: str) -> Json:
    return {"networking": {"type": "limited", "allowed_hosts": list(hosts)}}


@requirement("environments:networking")
async def test_sandboxes_reach_what_their_environment_allows_and_nothing_else(scene: Scene) -> None:
    page = f"{scene.platform.stub.url}/web/next"
    host = page.split("/")[2]
    # Of what is on this machine itself programs ask no proxy, unless they are told to.
    ask = f"curl -s --compressed --noproxy '' {page}; curl -s --noproxy '' -o /dev/null -w '%{{http_code}}' http://other.test/"
    allowed, elsewhere = await ran(scene, limited(host), ask), await ran(scene, limited("other.example"), ask)
    (reached,), (refused,) = ordered_results(allowed), ordered_results(elsewhere)
    assert "the end" in text_of(reached) and text_of(reached).endswith("403")
    assert "127.0.0.1 is not among the hosts that this environment's networking allows" in text_of(refused)
    opened, direct = ordered_results(
        await ran(scene, {"networking": {"type": "unrestricted"}}, ask, f"curl -sS --noproxy '*' {page} 2>&1")
    )
    assert "the end" in text_of(opened)
    assert "Failed to connect" in text_of(direct)


@requirement("environments:packages")
async def test_packages_that_cannot_be_installed_are_told_by_the_call_and_the_session_goes_on(scene: Scene) -> None:
    log = await ran(scene, {"packages": {"pip": ["./nothing-there"]}}, "true")
    (result,) = ordered_results(log)
    assert result["is_error"]
    assert text_of(result).startswith("The packages of this environment cannot be installed")
    assert "nothing-there" in text_of(result)
    assert text_of(of_type(log, "agent.message")[-1]) == "done"


@requirement("vaults:variables", "vaults:unreachable")
async def test_a_variable_of_a_vault_is_a_placeholder_inside_and_its_hosts_must_be_allowed(
    scene: Scene, client: Anthropic
) -> None:
    vault = client.beta.vaults.create(display_name="v").id
    auth: Any = {
        "type": "environment_variable",
        "secret_name": "API_TOKEN",
        "secret_value": SECRET,
        "networking": {"type": "limited", "allowed_hosts": ["api.example.com", "*.example.org"]},
    }
    credential = client.beta.vaults.credentials.create(vault, auth=auth).id
    commands = ("echo $API_TOKEN", "echo $API_TOKEN; env; cat /etc/ssl/sandbox.pem | grep -c CERTIFICATE")
    log = await ran(scene, limited("api.example.com"), *commands, vault_ids=[vault])
    first, second = map(text_of, ordered_results(log))
    assert first.startswith("placeholder-") and f"API_TOKEN={first}" in second
    assert SECRET not in str(log)
    (error,) = of_type(log, "session.error")
    assert error["error"] == {
        "type": "credential_host_unreachable_error",
        "message": "the environment's networking does not allow *.example.org, which this credential is for",
        "retry_status": {"type": "retrying"},
        "credential_id": credential,
        "vault_id": vault,
    }
