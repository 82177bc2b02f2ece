"""The audit trail: who did what, chained so that nobody can change it unnoticed (docs/audit.md)."""
