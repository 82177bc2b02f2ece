"""Documents to extract rows from: bills of suppliers, made up from a seed; in some jobs one does not add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.example_hands.demonstration import draw
from agents.example_hands.money import amount_of

_SUPPLIERS = ("Almeida Paper", "Berg Tools", "Castillo Print", "Dietrich Parts", "Eriksen Cables", "Fontaine Lamps")
_ITEMS = ("Toner", "Paper A4", "Label roll", "Cable 2 m", "Desk lamp", "Stapler", "Whiteboard", "Monitor arm")
_WRONG = 8
"""In one of so many jobs a document states another total."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bill; money is cents."""

    quantity: int
    item: str
    price: int


@dataclass(frozen=True, slots=True)
class Document:
    """One bill; money is cents."""

    supplier: str
    number: int
    lines: tuple[Line, ...]
    stated: int
    """The total that it states."""

    @property
    def cents(self) -> int:
        """What its lines add up to."""
        return sum(line.quantity * line.price for line in self.lines)

    def text(self) -> str:
        """Return it as it is given to the agent."""
        lines = "\n".join(f"{line.quantity} x {line.item} @ {amount_of(line.price)}" for line in self.lines)
        return f"Supplier: {self.supplier}\nInvoice: {self.number}\n{lines}\nTotal: {amount_of(self.stated)}"


def draw_documents(request: int, seed: int) -> list[Document]:
    """Return the documents of a request: two to five, with two to six lines each."""
    count = 2 + draw(4, "documents", seed, request)
    wrong = draw(count, "which is wrong", seed, request) if draw(_WRONG, "wrong", seed, request) == 0 else None
    return [_document(request, seed, number, wrong=number == wrong) for number in range(count)]


def wrong_total(documents: Sequence[Document]) -> int | None:
    """Return the index of the document that does not add up, or None."""
    return next((index for index, each in enumerate(documents) if each.stated != each.cents), None)


def _document(request: int, seed: int, number: int, *, wrong: bool) -> Document:
    what = (seed, request, number)
    lines = tuple(
        Line(
            quantity=1 + draw(12, "quantity", *what, place),
            item=_ITEMS[draw(len(_ITEMS), "item", *what, place)],
            price=50 + draw(20_000, "price", *what, place),
        )
        for place in range(2 + draw(5, "lines", *what))
    )
    total = sum(line.quantity * line.price for line in lines)
    return Document(
        supplier=_SUPPLIERS[draw(len(_SUPPLIERS), "supplier", *what)],
        number=10_000 + draw(90_000, "number", *what),
        lines=lines,
        stated=total + (1 + draw(5_000, "off by", *what) if wrong else 0),
    )
