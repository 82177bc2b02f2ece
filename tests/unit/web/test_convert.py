"""Strangers' HTML as Markdown: what is kept, what is dropped, and that nothing breaks on it."""

from __future__ import annotations

import sys

import pytest

from agents.web.content import Page
from agents.web.convert import convert
from agents.web.failures import WebFailure
from agents.web.pages import blocks_of


def text_of(html: str, url: str = "https://example.com/a/b") -> str:
    return convert(html.encode(), charset="utf-8", url=url, characters=10_000)["text"]


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>one</p><p>two</p>", "one\n\ntwo"),
        ("<h2>T</h2><ul><li>a<li>b</ul>", "## T\n\n- a\n- b"),
        ("<a href='c'>x</a>", "[x](https://example.com/a/c)"),
        ("<a href='//other.org/'>x</a>", "[x](https://other.org/)"),
        ("<base href='https://base.org/d/'><a href='c'>x</a>", "[x](https://base.org/d/c)"),
        ("<a href='javascript:alert(1)'>x</a> <a href='data:,y'>y</a> <a name='z'>z</a>", "x y z"),
        ("<a href='http://[bad'>x</a>", "x"),
        ("a<script>s</script><style>s</style><template>s</template><svg><text>s</text></svg>b", "ab"),
        ("<form><p>kept</p><select><option>s</select><button>s</button></form>", "kept"),
        ("<ul><li>a<ul><li>b</ul><li>c</ul>", "- a\n  - b\n- c"),
        ("<dl><dt>a<dd>b<dt>c<dd>d</dl>", "a\n:   b\n\nc\n:   d"),
        ("<pre>a\n  b</pre>", "```\na\n  b\n```"),
        ("<table><tr><th>a<th>b<tr><td>1<td>2</table>", "| a | b |\n| --- | --- |\n| 1 | 2 |"),
        ("<p>a</p>" + "<br>" * 50 + "<p>b</p>", "a\n\nb"),
        ("<!doctype html>", ""),
        ("<div><p>open <b>never <i>closed", "open **never *closed***"),
        ("", ""),
        ("\x00<p>\ufffe</p>", "\x00\n\n\ufffe"),
    ],
)
def test_markdown(html: str, text: str) -> None:
    assert text_of(html) == text


def test_the_charset_is_found_in_the_page_when_nobody_says_it() -> None:
    page = "<meta charset='iso-8859-2'><title>č</title><p>ř".encode("iso-8859-2")

    found = convert(page, charset=None, url="https://example.com/", characters=100)

    assert (found["title"], found["text"]) == ("č", "ř")


def test_text_is_cut_and_said_to_be() -> None:
    found = convert(b"<p>" + b"x" * 50, charset=None, url="https://example.com/", characters=20)

    assert (found["text"], found["cut"]) == ("x" * 20, True)


@pytest.mark.parametrize("program", ["/bin/false", "/bin/true", "/bin/echo"])
async def test_a_page_that_breaks_the_converter_breaks_nothing_else(
    monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    page = Page("https://example.com/", "text/html", b"<p>" * 500_000, cut=False)

    with pytest.raises(WebFailure) as failure:
        await blocks_of(page, max_tokens=100)
    assert failure.value.code == "unavailable"
