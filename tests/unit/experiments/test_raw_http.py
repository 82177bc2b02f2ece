"""The client for measuring reads what servers may legally send, however it is cut into pieces."""

from __future__ import annotations

import pytest

from agents.experiments.running.raw_http import Connection, Refused, events_of

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class _Transport:
    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


def asked() -> Connection:
    connection = Connection("127.0.0.1:1")
    connection.connection_made(_Transport())  # type: ignore[arg-type]
    connection.ask("GET", "/")
    return connection


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_chunked_body_is_joined_wherever_it_is_cut(size: int) -> None:
    connection = asked()
    answer = HEAD + b"5\r\nhello\r\n" + b"10\r\n" + b"x" * 16 + b"\r\n" + b"0\r\n\r\n"
    for start in range(0, len(answer), size):
        connection.data_received(answer[start : start + size])
    assert bytes(connection.body) == b"hello" + b"x" * 16
    assert connection.complete


def test_an_open_stream_shows_what_came_so_far() -> None:
    connection = asked()
    connection.data_received(HEAD + b"5\r\nhello\r\n3\r\nab")
    assert bytes(connection.body) == b"helloab"
    assert not connection.complete


async def test_a_body_of_known_length_is_read_and_the_connection_used_again() -> None:
    connection = asked()
    connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")
    assert not connection.complete
    connection.data_received(b"cd")
    assert await connection.answer() == b"abcd"
    connection.ask("GET", "/again")
    connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nz")
    assert await connection.answer() == b"z"


async def test_an_error_status_is_refused_with_its_body() -> None:
    connection = asked()
    connection.data_received(b"HTTP/1.1 429 Too Many\r\ncontent-length: 3\r\n\r\nbad")
    with pytest.raises(Refused, match=r"429.*bad"):
        await connection.answer()


async def test_a_lost_connection_ends_the_wait() -> None:
    connection = asked()
    connection.connection_lost(None)
    with pytest.raises(Refused):
        await connection.answer()


def test_only_complete_events_are_parsed() -> None:
    assert events_of(b': open\n\nevent: a\ndata: {"n":1}\n\nevent: b\ndata: {"n"') == [{"n": 1}]


async def test_a_refusal_says_its_status_and_when_to_come_back() -> None:
    connection = asked()
    connection.data_received(b"HTTP/1.1 529 Overloaded\r\nretry-after: 1.5\r\ncontent-length: 3\r\n\r\nbad")
    with pytest.raises(Refused) as refused:
        await connection.answer()
    assert (refused.value.status, refused.value.retry_after) == (529, 1.5)


def test_headers_are_sent_with_the_request() -> None:
    connection, transport = Connection("127.0.0.1:1"), _Transport()
    connection.connection_made(transport)  # type: ignore[arg-type]
    connection.ask("POST", "/v1/agents", b"{}", {"authorization": "Bearer k"})
    head, _, body = transport.written.partition(b"\r\n\r\n")
    assert b"\r\nauthorization: Bearer k" in head
    assert b"\r\ncontent-length: 2" in head
    assert body == b"{}"
