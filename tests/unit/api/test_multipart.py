"""Forms, part by part, however their bytes are cut."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request

from agents.api.multipart import parts_of
from agents.errors import InvalidRequest

BODY = (
    b"--b\r\nContent-Disposition: form-data; name=\"expires_in_seconds\"\r\n\r\n3600\r\n"
    b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"d/\xc3\xa9.txt\"\r\n"
    b"Content-Type: text/plain\r\n\r\n"
    b"one\r\n--not the end\r\ntwo\r\n"
    b"--b\r\nContent-Disposition: form-data; name=\"empty\"; filename=\"\"\r\n\r\n\r\n"
    b"--b--\r\n"
)  # fmt: skip
FOUND = [
    ("expires_in_seconds", None, None, b"3600"),
    ("file", "d/é.txt", "text/plain", b"one\r\n--not the end\r\ntwo"),
    ("empty", "", None, b""),
]


def request_of(body: bytes, step: int, content_type: str = "multipart/form-data; boundary=b") -> Request:
    pieces = [body[at : at + step] for at in range(0, len(body), step)]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0) if pieces else b"", "more_body": bool(pieces)}

    headers = [(b"content-type", content_type.encode())]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


async def found_in(request: Request) -> list[tuple[str, str | None, str | None, bytes]]:
    return [
        (part.name, part.filename, part.content_type, b"".join([piece async for piece in part.pieces]))
        async for part in parts_of(request)
    ]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 10_000])
async def test_all_parts_are_found_wherever_the_body_is_cut(step: int) -> None:
    assert await found_in(request_of(BODY, step)) == FOUND


@pytest.mark.parametrize("step", [1, 10_000])
async def test_a_part_that_nobody_reads_is_passed_over(step: int) -> None:
    assert [part.name async for part in parts_of(request_of(BODY, step))] == [name for name, *_ in FOUND]


async def test_no_more_than_a_piece_is_held() -> None:
    """Bug class this catches: a parser that collects a file before anybody has taken a byte of it."""
    taken = 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        return {"type": "http.request", "body": head if taken == 1 else b"x" * 1000, "more_body": True}

    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    parts = parts_of(Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive))
    part = await anext(parts)
    pieces: AsyncIterator[bytes] = part.pieces
    for count in range(1, 6):
        await anext(pieces)
        assert taken <= count + 2
    await parts.aclose()


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (BODY, "application/json"),
        (BODY, "multipart/form-data"),
        (BODY, "multipart/form-data; boundary=other"),
        (BODY[:-20], "multipart/form-data; boundary=b"),
        (b"", "multipart/form-data; boundary=b"),
        (b"nonsense", "multipart/form-data; boundary=b"),
    ],
)
async def test_what_is_no_form_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(InvalidRequest):
        await found_in(request_of(body, 10, content_type))


async def test_a_field_is_short_text() -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\n'
    for value in (b"x" * 70_000, b"\xff"):
        parts = parts_of(request_of(head + value + b"\r\n--b--\r\n", 1000))
        with pytest.raises(InvalidRequest, match=r"^n: "):
            await (await anext(parts)).text()
        await parts.aclose()
