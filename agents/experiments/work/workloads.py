"""The three workloads of an experiment: their agents, what their users write, and what must come out.

Everything in a message is drawn from the seed and the request's number, so a request is the same in every topology.
What must be answered is worked out here from what the example hands hold at first, which no session changes. The words
of the agents are in ``plans/workloads.yaml``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from agents.brains.simulated_prompt import marker
from agents.example_hands.billing_schema import entries, invoices
from agents.example_hands.billing_schema import seed as billing_rows
from agents.example_hands.demonstration import DemoCustomer, customers, draw
from agents.example_hands.money import amount_of
from agents.example_hands.storage import DATA_DIR
from agents.experiments.plan import HandTime, WorkloadName
from agents.experiments.work.arrivals import Arrival
from agents.experiments.work.documents import Document, draw_documents, wrong_total
from agents.experiments.work.hand_times import to_variables

PLAN_FILE = Path(__file__).parent / "plans" / "workloads.yaml"
"""What a ``replay`` or ``simulated`` brain plays."""
_HANDS = ("crm", "billing", "analytics")
_SERVERS: Mapping[WorkloadName, tuple[str, ...]] = {
    "support": ("crm", "billing"),
    "extraction": (),
    "recommendation": _HANDS,
}
_SANDBOX_TOOLS = ("bash", "read", "write")
_SYSTEM: Mapping[WorkloadName, str] = {
    "support": "You answer the customers of a software company. Find out who writes, see what they owe and what was"
    " said before, open a case for a complaint and close it when the books show that it has no ground. Note every"
    " request. Answer with the reference, the customer's id and what is due, in one sentence.",
    "extraction": "You turn documents into rows. Keep them in a file, take each line out with a program, and check that"
    " the lines of every document add up to its total. Answer with the reference, the number of rows, their sum, and"
    " the document that does not add up, if there is one.",
    "recommendation": "You choose what a customer is offered on their account page while it loads. Look at everything"
    " at once and answer in one sentence.",
}
_SUBJECTS = {
    "Charged twice": "I see two charges for our plan on the card. Please check it and tell me where we stand.",
    "What do we owe": "Our bookkeeping asks what is due on our account. Please send me the figure and the invoice.",
}
_LOYAL_MONTHS = 12
_STRANGERS = 12
"""One in so many support requests comes from an address that is no customer's."""


def workload_agent(workload: WorkloadName, model: str) -> dict[str, Any]:
    """Return the body of ``POST /v1/agents`` for a workload's agent, with the brain *model*."""
    servers = _SERVERS[workload]
    tools: list[dict[str, Any]] = [
        {
            "type": "mcp_toolset",
            "mcp_server_name": hand,
            "default_config": {"permission_policy": {"type": "always_allow"}},
        }
        for hand in servers
    ]
    if not servers:
        enabled = [{"name": name, "enabled": True} for name in _SANDBOX_TOOLS]
        tools = [{"type": "agent_toolset_20260401", "default_config": {"enabled": False}, "configs": enabled}]
    return {
        "name": f"experiment-{workload}",
        "model": model,
        "system": _SYSTEM[workload],
        "mcp_servers": [{"type": "url", "name": hand, "url": f"hand://{hand}"} for hand in servers],
        "tools": tools,
    }


def hands_needed(times: HandTime | None = None, folder: Path | None = None) -> dict[str, dict[str, Any]]:
    """Return the hands of all workloads as the settings' ``hands`` take them.

    *times* are those of the systems behind them (none: the hands' own alone); *folder* is where their data lie (none:
    where example hands have them).
    """
    variables = to_variables(times) if times is not None and times.median_seconds > 0 else {}
    if folder is not None:
        variables[DATA_DIR] = str(folder.absolute())
    return {
        hand: {
            "server": f"agents.experiments.work.backends:{hand}",
            "runtime_env": {"env_vars": variables},
            # Hands that sleep would have their first sessions measure Ray's start of a process.
            "min_replicas": 1,
            "max_replicas": 2,
            "resources": {"num_cpus": 0.05},
        }
        for hand in _HANDS
    }


def user_message(arrival: Arrival, seed: int) -> str:
    """Return what the user of a session writes; with a trace's lengths, for a simulated brain."""
    text = _MESSAGES[arrival.workload](arrival.request, seed)
    if not (arrival.context_tokens or arrival.output_tokens):
        return text
    return f"{text}\n\n{marker(input_tokens=arrival.context_tokens, output_tokens=arrival.output_tokens)}"


def expected_answer(arrival: Arrival, seed: int) -> str:
    """Return the sentence that the last answer of a session must have in it."""
    return _ANSWERS[arrival.workload](arrival.request, seed)


def is_right(arrival: Arrival, seed: int, answer: str) -> bool:
    """Say whether a session came to the right end, by the text of its last answer."""
    return expected_answer(arrival, seed) in answer


# -- support -------------------------------------------------------------------------------------------


def _support_message(request: int, seed: int) -> str:
    subject = _subject(request, seed)
    customer = _writer(request, seed)
    sender = customer.email if customer else f"visitor.{request}@elsewhere.example"
    signed = customer.name if customer else "A visitor"
    head = f"Support request {_reference('S', request, seed)}\nFrom: {sender}\nSubject: {subject}\n"
    return f"{head}\nHello,\n\n{_SUBJECTS[subject]}\n\nKind regards\n{signed}"


def _support_answer(request: int, seed: int) -> str:
    reference, customer = _reference("S", request, seed), _writer(request, seed)
    if customer is None:
        return f"{reference}: nobody with this address is a customer; nothing was opened."
    complains = _subject(request, seed) == "Charged twice"
    due = _due().get(customer.id, {})
    if not due:
        return f"{reference}: {customer.id} owes nothing{'; the case is closed' if complains else ''}."
    owes = f"{customer.id} owes {amount_of(sum(due.values()))} USD, the oldest of it on {min(due)}"
    return f"{reference}: {owes}{'; the case stays open' if complains else ''}."


def _subject(request: int, seed: int) -> str:
    return tuple(_SUBJECTS)[draw(len(_SUBJECTS), "subject", seed, request)]


def _writer(request: int, seed: int) -> DemoCustomer | None:
    stranger = draw(_STRANGERS, "stranger", seed, request) == 0
    return None if stranger else _customer("support", request, seed)


# -- extraction ----------------------------------------------------------------------------------------


def _extraction_message(request: int, seed: int) -> str:
    documents = draw_documents(request, seed)
    texts = "\n".join(f"--- document {number}\n{each.text()}" for number, each in enumerate(documents, 1))
    return (
        f"Extraction job {_reference('X', request, seed)}: {len(documents)} documents.\n"
        f"One row for each line, please, and check the totals.\n\n{texts}\n--- end"
    )


def _extraction_answer(request: int, seed: int) -> str:
    documents: list[Document] = draw_documents(request, seed)
    rows = sum(len(each.lines) for each in documents)
    cents = sum(each.cents for each in documents)
    told = f"{_reference('X', request, seed)}: {rows} rows, {amount_of(cents)} USD in all; "
    wrong = wrong_total(documents)
    if wrong is None:
        return f"{told}every document adds up."
    return f"{told}document {wrong + 1} does not add up to {amount_of(documents[wrong].stated)} USD."


# -- recommendation ------------------------------------------------------------------------------------


def _recommendation_message(request: int, seed: int) -> str:
    customer = _customer("recommendation", request, seed)
    return f"Recommendation {_reference('R', request, seed)} for {customer.id}: what do we offer on the account page?"


def _recommendation_answer(request: int, seed: int) -> str:
    customer = _customer("recommendation", request, seed)
    offer = "no offer"
    if customer.left is not None:
        offer = "an offer to come back"
    elif _due().get(customer.id):
        offer = "a reminder"
    elif len(customer.months) >= _LOYAL_MONTHS and customer.plan != "business":
        offer = "an offer for the next plan"
    return f"{_reference('R', request, seed)}: {customer.id} gets {offer}."


# -- what they have in common --------------------------------------------------------------------------


def _reference(letter: str, request: int, seed: int) -> str:
    return f"{letter}-{seed}-{request:06d}"


def _customer(workload: WorkloadName, request: int, seed: int) -> DemoCustomer:
    return customers()[draw(len(customers()), "customer", workload, seed, request)]


@lru_cache
def _due() -> Mapping[str, Mapping[str, int]]:
    """Return what is due at first, in cents: by customer, and then by invoice, whose ids are in order of time."""
    rows = billing_rows()
    left = {row["id"]: row["total"] for row in rows[invoices]}
    for entry in rows[entries]:
        left[entry["invoice_id"]] -= entry["cents"]
    due: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows[invoices]:
        if left[row["id"]]:
            due[row["customer_id"]][row["id"]] = left[row["id"]]
    return dict(due)


_Drawn = Callable[[int, int], str]
_MESSAGES: Mapping[WorkloadName, _Drawn] = {
    "support": _support_message,
    "extraction": _extraction_message,
    "recommendation": _recommendation_message,
}
_ANSWERS: Mapping[WorkloadName, _Drawn] = {
    "support": _support_answer,
    "extraction": _extraction_answer,
    "recommendation": _recommendation_answer,
}
