"""One turn, event by event (spec B.2, B.3)."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

from agents.brains.assembly import TokenUsage
from agents.economics.price_book import PriceBook
from tests.conformance.requirements import requirement
from tests.conformance.scene import (
    CUSTOM,
    END,
    REQUEST,
    START,
    Scene,
    bash,
    calls,
    message,
    of_type,
    says,
    text_of,
    toolset,
)


@requirement("events:order:text-turn", "events:thread-first", "events:order:spans")
async def test_a_text_turn_has_its_events_in_the_documented_order(scene: Scene) -> None:
    await scene.answers(says("hello"))
    session = await scene.session()
    log = await scene.turn(session, message("hi"))
    assert [event["type"] for event in log] == [*START, "user.message", *REQUEST, *END]
    thread = (await scene.get(f"/v1/sessions/{session}/threads"))["data"][0]["id"]
    assert log[1]["session_thread_id"] == log[-3]["session_thread_id"] == thread
    assert log[1]["agent_name"] == log[-3]["agent_name"] == "actor"
    assert log[2]["content"] == [{"type": "text", "text": "hi"}] and log[2]["processed_at"]
    assert log[4]["content"] == [{"type": "text", "text": "hello"}]
    end = log[5]
    assert (end["model_request_start_id"], end["is_error"]) == (log[3]["id"], False)
    assert end["model_usage"] == {
        "input_tokens": 100,
        "output_tokens": 20,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }
    assert log[-1]["stop_reason"] == log[-3]["stop_reason"] == {"type": "end_turn"}
    assert log[-1]["stop_details"] is None


@requirement("events:order:tool-turn", "events:order:spans")
async def test_tool_uses_stand_before_the_end_of_their_request_and_results_after(scene: Scene) -> None:
    await scene.answers(calls(bash("echo 1"), ("glob", {"pattern": "*"}), text="let me look"), says("done"))
    session = await scene.session(toolset())
    log = await scene.turn(session)
    assert [event["type"] for event in log] == [
        *START,
        "user.message",
        "span.model_request_start",
        "agent.message",
        "agent.tool_use",
        "agent.tool_use",
        "span.model_request_end",
        "agent.tool_result",
        "agent.tool_result",
        *REQUEST,
        *END,
    ]
    starts = [event["id"] for event in of_type(log, "span.model_request_start")]
    assert [event["model_request_start_id"] for event in of_type(log, "span.model_request_end")] == starts
    uses, results = of_type(log, "agent.tool_use"), of_type(log, "agent.tool_result")
    assert {event["tool_use_id"] for event in results} == {event["id"] for event in uses}
    assert [(use["name"], use["input"]) for use in uses] == [
        ("bash", {"command": "echo 1"}),
        ("glob", {"pattern": "*"}),
    ]
    assert {(use["evaluated_permission"], use["evaluation"]["type"]) for use in uses} == {("allow", "always_allow")}


@requirement("events:ids")
async def test_ids_are_unique_and_processing_times_strictly_increase(scene: Scene) -> None:
    await scene.answers(calls(bash("true"), bash("true")), says("one"), says("two"))
    session = await scene.session(toolset())
    await scene.turn(session)
    await scene.turn(session, message("a"), message("b"))
    log = await scene.log(session)
    assert len({event["id"] for event in log}) == len(log)
    moments = [datetime.fromisoformat(event["processed_at"]) for event in log]
    assert all(earlier < later for earlier, later in pairwise(moments))


@requirement("events:thinking")
async def test_thinking_is_a_bare_mark_that_goes_back_to_the_model_signed(scene: Scene) -> None:
    thought = {"type": "thinking", "thinking": "a secret thought", "signature": "signed"}
    first = calls(bash("true"))
    await scene.answers({"content": [thought, *first["content"]]}, says("done"))
    session = await scene.session(toolset())
    log = await scene.turn(session)
    [mark] = of_type(log, "agent.thinking")
    assert set(mark) == {"id", "type", "processed_at"}
    assert "secret" not in str(await scene.log(session))
    shown = await scene.shown(2)
    [block] = [b for b in shown[1]["messages"][1]["content"] if b["type"] == "thinking"]
    assert block == thought


@requirement("events:text:empty")
async def test_an_answer_without_text_makes_no_message(scene: Scene) -> None:
    await scene.answers({"content": []}, says(""), says("words"))
    session = await scene.session()
    for _ in range(2):
        log = await scene.turn(session)
        assert not of_type(log, "agent.message") and log[-1]["stop_reason"] == {"type": "end_turn"}
    assert text_of(of_type(await scene.turn(session), "agent.message")[0]) == "words"


@requirement("events:text:cut-off")
async def test_an_answer_that_was_cut_off_is_kept_and_ends_the_turn(scene: Scene) -> None:
    await scene.answers(says("half a sen", stop_reason="max_tokens"), says("tence"))
    session = await scene.session()
    for said in ("half a sen", "tence"):
        log = await scene.turn(session)
        assert text_of(of_type(log, "agent.message")[0]) == said
        assert of_type(log, "session.error") == [] and log[-1]["stop_reason"] == {"type": "end_turn"}


@requirement("events:queue")
async def test_messages_sent_during_a_turn_wait_and_follow_in_order(scene: Scene) -> None:
    await scene.answers(says([scene.gate("hold"), "one"]), says("two"))
    session = await scene.session()
    await scene.send(session, message("first"))
    await scene.shown(1)
    [second] = await scene.send(session, message("second"))
    [third] = await scene.send(session, message("third"))
    assert second["processed_at"] is None
    waiting = [event for event in await scene.log(session) if event["processed_at"] is None]
    assert [event["id"] for event in waiting] == [second["id"], third["id"]]
    await scene.release("hold")
    log = await scene.idle(session)
    assert [event["type"] for event in log] == [
        *START,
        "user.message",
        *REQUEST,
        "user.message",
        "user.message",
        *REQUEST,
        *END,
    ]
    shown = await scene.shown(2)
    texts = [block["text"] for block in shown[1]["messages"][-1]["content"]]
    assert texts == ["second", "third"]


@requirement("events:queue", "events:pure-function")
async def test_a_message_sent_while_tools_run_stands_behind_their_results(scene: Scene) -> None:
    await scene.answers(calls(bash("sleep 1"), bash("echo quick")), says("done"))
    session = await scene.session(toolset())
    await scene.send(session, message("first"))
    await scene.until(session, "agent.tool_result")
    [echo] = await scene.send(session, message("second"))
    assert echo["processed_at"] is None
    log = await scene.idle(session)
    messages = (await scene.shown(2))[1]["messages"]
    assert [each["role"] for each in messages] == ["user", "assistant", "user"]
    kinds = [block["type"] for block in messages[-1]["content"]]
    assert kinds == ["tool_result", "tool_result", "text"]
    uses = [event["id"] for event in of_type(log, "agent.tool_use")]
    assert [block["tool_use_id"] for block in messages[-1]["content"][:2]] == uses


@requirement("events:pure-function")
async def test_the_model_is_shown_the_conversation_of_the_log(scene: Scene) -> None:
    await scene.answers(calls(bash("echo out"), text="looking"), says("first"), says("second"))
    session = await scene.session(toolset(), CUSTOM)
    log = await scene.turn(session, message("one"))
    log += await scene.turn(session, message("two"))
    [use] = of_type(log, "agent.tool_use")
    shown = (await scene.shown(3))[2]
    for each in shown["messages"]:
        for block in each["content"]:
            block.pop("cache_control", None)
    assert shown["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "one"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "looking"},
                {"type": "tool_use", "id": use["id"], "name": "bash", "input": {"command": "echo out"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": use["id"], "content": [{"type": "text", "text": "out"}]}
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "first"}]},
        {"role": "user", "content": [{"type": "text", "text": "two"}]},
    ]
    assert shown["model"] == "claude-sonnet-5-5" and shown["stream"] is True
    assert shown["system"][0]["text"].startswith(f"Scene {scene.mark}.")


@requirement("events:usage", "events:usage:cost", "events:atomic-status")
async def test_usage_is_cumulative_and_stands_before_each_idle(scene: Scene) -> None:
    tokens = {"input_tokens": 100_000, "output_tokens": 20_000}
    cached = {"cache_read_input_tokens": 50_000, "cache_creation_5m": 1_000}
    await scene.answers(says("one", usage=tokens), says("two", usage={**tokens, **cached}))
    session = await scene.session(agent=await scene.agent(model="claude-sonnet-4-5"))
    amounts = []
    for turn in (1, 2):
        log = await scene.turn(session)
        assert [event["type"] for event in log[-2:]] == ["session.usage", "session.status_idle"]
        usage, resource = log[-2]["usage"], await scene.retrieve(session)
        assert resource["status"] == "idle" and resource["usage"] == usage
        assert log[-2]["budget"] is None
        assert (usage["input_tokens"], usage["output_tokens"]) == (turn * 100_000, turn * 20_000)
        amounts.append((usage["list_cost"]["amount"], usage["active_seconds"]))
        assert usage["list_cost"]["currency"] == "USD"
        assert 0 < usage["active_seconds"] < 15
    assert usage["cache_read_input_tokens"] == 50_000
    assert usage["cache_creation"] == {"ephemeral_5m_input_tokens": 1_000, "ephemeral_1h_input_tokens": 0}
    ends = of_type(await scene.log(session), "span.model_request_end")
    assert sum(end["model_usage"]["output_tokens"] for end in ends) == usage["output_tokens"]
    assert [end["model_usage"]["cache_creation_input_tokens"] for end in ends] == [0, 1_000]
    book = PriceBook.load()
    first = book.cost("claude-sonnet-4-5", TokenUsage(**tokens))
    second = book.cost("claude-sonnet-4-5", TokenUsage(**tokens, **cached))
    # $3 and $15 a million tokens: sixty cents, and then the price book's word with the running time.
    assert amounts[0][0] == "60"
    for (amount, active), tokens_cost in zip(amounts, (first, first + second), strict=True):
        assert int(amount) == round((tokens_cost + active / 3600 * 80_000) / 10_000)


@requirement("events:usage")
async def test_a_failed_request_still_counts_what_it_used(scene: Scene) -> None:
    half = says(["half", {"error": "overloaded_error"}], usage={"input_tokens": 70})
    await scene.answers(half, says("whole", usage={"input_tokens": 30}))
    log = await scene.turn(await scene.session())
    assert of_type(log, "session.usage")[-1]["usage"]["input_tokens"] == 100


@requirement("brains:undeclared")
async def test_without_declared_brains_any_model_is_taken_and_the_log_has_no_field_more(scene: Scene) -> None:
    await scene.answers(says("hello"), says("hello"))
    for model in ("claude-of-tomorrow", "auto"):
        session = await scene.session(agent=await scene.agent(model=model))
        [end] = of_type(await scene.turn(session), "span.model_request_end")
        assert set(end) == {"id", "type", "processed_at", "model_request_start_id", "is_error", "model_usage"}
    assert [body["model"] for body in await scene.shown(2)] == ["claude-of-tomorrow", "auto"]
