"""A session's budget: a cap on its list cost (spec B.3 "Budget pause").

Whether it is used up follows from the session's row, the prices and the time, and from nothing that a process
remembers: every owner comes to the same answer. Money is integer micro-USD; the cap is given in whole US cents.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from agents.brain_settings import BrainPrice
from agents.brains.registry import RegisteredBrain, Registry
from agents.errors import InvalidRequest, NotFound
from agents.sessions.events import SessionRecord
from agents.sessions.wire import MICRO_PER_CENT, RuntimePrice, list_cost_micro_usd

_AMOUNT = re.compile(r"[1-9][0-9]{0,11}")
"""Whole cents without leading zeros (field text of the SDK); twelve digits are more than anybody's ten billion."""


class BudgetPrices(RuntimePrice, Protocol):
    """The part of a price book that a budget needs."""

    def has_price(self, model: str, *, own: BrainPrice | None = None) -> bool:
        """Return whether requests to *model* have a known price: the brain's *own*, or one of the book."""
        ...


def checked_budget(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a budget as it is kept and shown. Raises InvalidRequest for an amount that is none."""
    limit = given["max_list_cost"]
    if not _AMOUNT.fullmatch(limit["amount"]):
        raise InvalidRequest(
            "budget.max_list_cost.amount: must be whole US cents above zero, in decimal digits without leading zeros"
            f' ("2500" is $25.00), not {limit["amount"][:40]!r}'
        )
    return {"type": given["type"], "max_list_cost": {"amount": limit["amount"], "currency": limit["currency"]}}


class Budgets:
    """Judges budgets by the prices and the brains that there are."""

    def __init__(self, prices: BudgetPrices, brains: Registry) -> None:
        self._prices = prices
        self._brains = brains

    def used_up(self, record: SessionRecord, now: datetime, *, unrecorded: int = 0) -> bool:
        """Return whether the session may make no more model requests.

        *unrecorded* are micro-USD spent on the open request. A budget is used up, too, when what the next request
        costs can no longer be known, because a brain has lost its price.
        """
        if record.budget is None:
            return False
        spent = list_cost_micro_usd(record, now, self._prices) + unrecorded
        return spent >= _cap(record.budget) or self._unpriced(record.agent["model"]["id"]) is not None

    def check_model(self, model: str) -> None:
        """Raise InvalidRequest (``model_not_budgetable``) when a brain without a price may answer for *model*."""
        brain = self._unpriced(model)
        if brain is not None:
            of = f" of brain {brain.id}" if self._brains.declared else ""
            words = f"budget: {brain.told(model)!r}{of} has no price, so that its cost cannot be capped"
            raise InvalidRequest(words, error_code="model_not_budgetable")

    def check_change(self, record: SessionRecord, now: datetime, budget: dict[str, Any]) -> None:
        """Raise InvalidRequest unless *budget* may replace the session's: it must leave something to spend."""
        if record.budget is None:
            raise InvalidRequest("budget: cannot be added to a session without one", error_code="budget_create_only")
        self.check_model(record.agent["model"]["id"])
        spent = list_cost_micro_usd(record, now, self._prices)
        if _cap(budget) <= spent:
            words = f'must be "{spent // MICRO_PER_CENT + 1}" or more, above what the session has cost so far'
            raise InvalidRequest(f"budget.max_list_cost.amount: {words}", error_code="budget_not_raised")

    def _unpriced(self, model: str) -> RegisteredBrain | None:
        """Return a brain without a price that may answer for *model*, if there is one."""
        try:
            brains = self._may_answer(model)
        except NotFound:
            return None  # nobody answers, and the request says so itself
        told = ((brain, brain.told(model), brain.definition.price) for brain in brains)
        return next((brain for brain, name, own in told if not self._prices.has_price(name, own=own)), None)

    def _may_answer(self, model: str) -> Iterable[RegisteredBrain]:
        # Of those that a policy may choose from, any: policies are exchangeable, and roles only guide them.
        first = self._brains.choosable if self._brains.is_auto(model) else [self._brains.find(model)]
        line = (each for brain in first for each in self._brains.line(brain))
        return [
            version
            for brain in line
            for version in ([brain] if model == brain.id else self._brains.versions(brain.name).values())
        ]


def _cap(budget: Mapping[str, Any]) -> int:
    """Return the budget in micro-USD."""
    return int(budget["max_list_cost"]["amount"]) * MICRO_PER_CENT
