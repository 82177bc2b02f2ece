"""A session's budget: a cap on its list cost (spec B.3 "Budget pause").

Whether it is used up follows from the session's row, the prices and the time, and from nothing that a process
remembers: every owner comes to the same answer. Money is integer micro-USD; the cap is given in whole US cents.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from agents.brain_settings import BrainPrice, Role
from agents.brains.answering import suited_to, summarizer_of, versions_meant
from agents.brains.registry import RegisteredBrain, Registry
from agents.catalog.team import models_of
from agents.errors import InvalidRequest, NotFound
from agents.sessions.events import SessionRecord
from agents.sessions.wire import MICRO_PER_CENT, UsePrices, list_cost_micro_usd

_AMOUNT = re.compile(r"[1-9][0-9]{0,11}")
"""Whole cents without leading zeros (field text of the SDK); twelve digits are more than anybody's ten billion."""


class BudgetPrices(UsePrices, Protocol):
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
        return spent >= _cap(record.budget) or not all(map(self.knows_cost, models_of(record.agent)))

    def knows_cost(self, model: str) -> bool:
        """Return whether every brain that may answer for *model* has a price."""
        return self._unpriced(model) is None

    def check_models(self, models: Iterable[str]) -> None:
        """Raise InvalidRequest (``model_not_budgetable``) when a brain without a price may answer for one of them."""
        for unpriced in filter(None, map(self._unpriced, models)):
            brain, told = unpriced
            of = f" of brain {brain.id}" if self._brains.declared else ""
            words = f"budget: {told!r}{of} has no price, so that its cost cannot be capped"
            raise InvalidRequest(words, error_code="model_not_budgetable")

    def check_change(self, record: SessionRecord, now: datetime, budget: dict[str, Any]) -> None:
        """Raise InvalidRequest unless *budget* may replace the session's: it must leave something to spend."""
        if record.budget is None:
            raise InvalidRequest("budget: cannot be added to a session without one", error_code="budget_create_only")
        self.check_models(models_of(record.agent))
        spent = list_cost_micro_usd(record, now, self._prices)
        if _cap(budget) <= spent:
            words = f'must be "{spent // MICRO_PER_CENT + 1}" or more, above what the session has cost so far'
            raise InvalidRequest(f"budget.max_list_cost.amount: {words}", error_code="budget_not_raised")

    def _unpriced(self, model: str) -> tuple[RegisteredBrain, str] | None:
        """Return a brain that may answer an agent with *model* and has no price, with what it is told; or None."""
        for name in dict.fromkeys((model, summarizer_of(self._brains, model))):
            for brain in self._may_answer(name):
                told = brain.told(name)
                if not self._prices.has_price(told, own=brain.definition.price):
                    return brain, told
        return None

    def _may_answer(self, model: str) -> Iterable[RegisteredBrain]:
        try:
            first = self._chosen_from(model) if self._brains.is_auto(model) else [self._brains.find(model)]
        except NotFound:
            return  # nobody answers, and the request says so itself
        for head in (each for brain in first for each in self._brains.line(brain)):
            yield from versions_meant(self._brains, head, model)

    def _chosen_from(self, model: str) -> Iterable[RegisteredBrain]:
        """Return what the policy may choose from, by its rule on roles; plain ``auto`` has either, as tools change."""
        asked = self._brains.role(model)
        roles: Sequence[Role] = [asked] if asked else ["reasoning", "generation"]
        return [brain for role in roles for brain in suited_to(self._brains, role)]


def _cap(budget: Mapping[str, Any]) -> int:
    """Return the budget in micro-USD."""
    return int(budget["max_list_cost"]["amount"]) * MICRO_PER_CENT
