"""What MCP servers say becomes what the API has blocks for, within bounds, and nothing vanishes without a word (ours).

The shapes of the blocks are the vendor SDK's own (``agent.mcp_tool_result``).
"""

from __future__ import annotations

import base64

import orjson
import pytest
from anthropic.types.beta.sessions.beta_managed_agents_agent_mcp_tool_result_event import Content
from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    Tool,
    ToolAnnotations,
)
from pydantic import TypeAdapter

from agents.hands.servers import content
from agents.hands.servers.content import NO_OUTPUT, blocks, offered
from agents.hands.servers.port import REPEATS_BY_KEY

PNG, GIF, PDF = (base64.b64encode(begin + b"rest").decode() for begin in (b"\x89PNG\r\n\x1a\n", b"GIF89a", b"%PDF-1.7"))


def resource(kind: str | None, blob: str = PNG) -> EmbeddedResource:
    return EmbeddedResource(resource=BlobResourceContents(uri="file:///a", mime_type=kind, blob=blob))


def test_every_kind_of_content_becomes_a_block_that_the_sdk_knows() -> None:
    link = ResourceLink(name="report", uri="https://example.com/r", description="The report")
    result = CallToolResult(
        content=[
            TextContent(text="hello"),
            ImageContent(data=PNG, mime_type="image/png"),
            ImageContent(data=PNG, mime_type="image/tiff"),
            AudioContent(data=PNG, mime_type="audio/wav"),
            link,
            EmbeddedResource(resource=TextResourceContents(uri="file:///b", text="inside")),
            resource("application/pdf", PDF),
            resource("image/gif", GIF),
            resource(None),
        ]
    )
    found = blocks(result)
    for block in found:
        TypeAdapter(Content).validate_python(block)
    image, document = {"type": "image"}, {"type": "document"}
    assert found == [
        {"type": "text", "text": "hello"},
        {**image, "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {"type": "text", "text": "(image/tiff, is not shown)"},
        {"type": "text", "text": "(audio, audio/wav, is not shown)"},
        {"type": "text", "text": "report <https://example.com/r>: The report"},
        {**document, "source": {"type": "text", "media_type": "text/plain", "data": "inside"}, "title": "file:///b"},
        {
            **document,
            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
            "title": "file:///a",
        },
        {**image, "source": {"type": "base64", "media_type": "image/gif", "data": GIF}},
        {"type": "text", "text": "(file:///a data of an unknown type, is not shown)"},
    ]


def test_a_result_without_content_shows_its_structure_or_a_placeholder() -> None:
    assert blocks(CallToolResult(content=[], structured_content={"n": 1})) == [{"type": "text", "text": '{"n":1}'}]
    empty = [{"type": "text", "text": NO_OUTPUT}]
    assert blocks(CallToolResult(content=[])) == blocks(CallToolResult(content=[TextContent(text="")])) == empty


def test_text_of_all_blocks_together_and_data_of_each_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MOST_TEXT", 10)
    monkeypatch.setattr(content, "MOST_DATA", 2)
    inside = EmbeddedResource(resource=TextResourceContents(uri="file:///b", text="y" * 8))
    result = CallToolResult(content=[TextContent(text="x" * 6), inside, TextContent(text="z"), resource("image/png")])
    texts = [block["source"]["data"] if block["type"] == "document" else block["text"] for block in blocks(result)]
    unseen = len("yyyy" + "z" + "(file:///a image/png, is larger than 2 characters and not shown)")
    assert texts == ["x" * 6, "y" * 4, f"({unseen} more characters were cut off)"]


def test_all_data_together_and_the_number_of_blocks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MOST_ALL_DATA", 2 * len(PNG))
    photo = ImageContent(data=PNG, mime_type="image/png")
    assert [block["type"] for block in blocks(CallToolResult(content=[photo] * 4))] == ["image", "image", "text"]
    monkeypatch.setattr(content, "MOST_BLOCKS", 3)
    texts = [TextContent(text=word) for word in "abc"]
    found = blocks(CallToolResult(content=[*texts, photo, *texts, photo, *texts]))
    assert [block.get("text", "photo") for block in found] == [
        "a\nb\nc",
        "photo",
        "a\nb\nc",
        "(2 more parts of the result are not shown)",
    ]
    assert [block["text"] for block in blocks(CallToolResult(content=texts))] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("data", "kind"),
    [("not base64!", "image/png"), ("QUJD", "image/png"), (PDF, "image/png"), ("ébé", "image/gif"), ("", "image/gif")],
)
def test_an_image_that_is_none_is_named_for_it_would_fail_every_later_request(data: str, kind: str) -> None:
    expected = [{"type": "text", "text": f"({kind}, is not shown: its data are none)"}]
    assert blocks(CallToolResult(content=[ImageContent(data=data, mime_type=kind)])) == expected
    named = blocks(CallToolResult(content=[resource("application/pdf", PNG)]))
    assert named == [{"type": "text", "text": "(file:///a application/pdf, is not shown: its data are none)"}]


def test_an_image_is_called_what_it_is_and_lines_in_its_base64_go() -> None:
    (image,) = blocks(CallToolResult(content=[ImageContent(data=f"{GIF[:4]}\n{GIF[4:]}\n", mime_type="image/png")]))
    assert image == {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": GIF}}


def test_text_that_no_json_may_hold_is_mended_wherever_it_stands() -> None:
    half = "a\udcff"
    inside = EmbeddedResource(resource=TextResourceContents(uri=f"file:///{half}", text=half))
    link = ResourceLink(name=half, uri="file:///b", description=half)
    result = CallToolResult(content=[TextContent(text=half), inside, link])
    assert orjson.dumps(blocks(result))
    assert blocks(result)[0] == {"type": "text", "text": "a?"}
    assert orjson.dumps(blocks(CallToolResult(content=[], structured_content={half: half})))
    (tool,) = offered([Tool(name="t", description=half, input_schema={})])
    assert tool.description == "a?"


def test_a_structure_may_hold_numbers_of_any_size() -> None:
    assert blocks(CallToolResult(content=[], structured_content={"n": 2**80})) == [
        {"type": "text", "text": f'{{"n":{2**80}}}'}
    ]


def test_hints_are_mcps_and_its_defaults_where_a_server_gives_none() -> None:
    schema = {"type": "object"}
    plain, reading = offered(
        [
            Tool(name="a", input_schema=schema),
            Tool(name="b", title="B", input_schema=schema, annotations=ToolAnnotations(read_only_hint=True)),
        ]
    )
    assert (plain.read_only, plain.idempotent, plain.destructive, plain.open_world) == (False, False, True, True)
    assert (reading.read_only, reading.destructive, reading.description) == (True, False, "B")
    assert [plain.repeatable, reading.repeatable] == [False, True]


def test_a_tool_that_keeps_to_the_idempotency_key_may_be_repeated_whatever_its_hints_say() -> None:
    tools = [Tool(name="t", input_schema={}, _meta={REPEATS_BY_KEY: value}) for value in (True, "yes")]
    assert [tool.repeatable for tool in offered(tools)] == [True, False]


def test_tools_that_no_model_could_be_shown_are_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MOST_SCHEMA", 40)
    plain: dict[str, object] = {"type": "object"}
    tools = [
        Tool(name="a", input_schema=plain),
        Tool(name="long", input_schema={**plain, "title": "x" * 40}),
        Tool(name="number", input_schema={**plain, "n": 2**64}),
        Tool(name="half \udcff", input_schema=plain),
        Tool(name="", input_schema=plain),
        Tool(name="b", input_schema=plain),
        Tool(name="c", input_schema=plain),
    ]
    assert [tool.name for tool in offered(tools)] == ["a", "b", "c"]
    monkeypatch.setattr(content, "MOST_OFFER", 2 * len('{"type":"object"}["a",""]'))
    assert [tool.name for tool in offered(tools)] == ["a", "b"]
