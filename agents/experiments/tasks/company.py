"""The domain ``company``: the CRM and the billing of the example company, as they stand on one day."""

from __future__ import annotations

from datetime import UTC, datetime

from agents.example_hands import billing as billing_hand
from agents.example_hands import billing_schema, crm_schema
from agents.example_hands import crm as crm_hand
from agents.experiments.tasks.domain import Domain, TaskHand, task_server

NOW = datetime(2026, 9, 30, 12, tzinfo=UTC)
"""In the last month that the company has data of, when its latest invoices are overdue."""

CRM = TaskHand("crm", f"{__name__}:crm", crm_hand.tools, crm_schema.calls, crm_schema.seed, NOW)
BILLING = TaskHand("billing", f"{__name__}:billing", billing_hand.tools, billing_schema.calls, billing_schema.seed, NOW)
COMPANY = Domain("company", (CRM, BILLING))

crm = task_server(CRM)
billing = task_server(BILLING)
