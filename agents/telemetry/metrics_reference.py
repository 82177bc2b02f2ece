"""Writes docs/metrics.md from the catalogue, so that it cannot be wrong about it.

``python -m agents.telemetry.metrics_reference docs/metrics.md``; a test compares the file.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from agents.telemetry.catalogue import CATALOGUE
from agents.telemetry.metric import MOST_VALUES, OTHER, Label, Metric
from agents.telemetry.self_reported import SELF_REPORTED

_HEAD = f"""\
# Metrics

<!-- Written by `make docs` from agents/telemetry/catalogue.py; do not edit. -->

`GET /metrics` of any gateway replica tells, in Prometheus' text format, how the whole platform does. It takes no key,
so do not publish it. `telemetry.metrics: false` switches the first table off; what each part says of itself stays.

## Totals of the platform

Every process (harness, gateway, sandbox host, replica of a monolith or of a brain on GPUs) counts what goes on in it,
and tells the fleet within 2 seconds; the fleet adds all of them up, and every gateway replica tells its sums. What a
session's log has is counted from the log: the events of a commit, once it is durable.

- **Counters do not fall while the platform runs**, also when a harness, a gateway or a host is replaced: what a
  process counted stays counted when it has gone. What it counted in its last 2 seconds is lost when it is killed. The
  fleet keeps its sums beside Ray's table of actors, when a process comes and every 15 seconds (less often on a very
  large platform); when the fleet and another process are killed together, what that process counted since then is
  lost, and the series stand still until they are where they were. They begin anew with a new Ray cluster, as
  `hecaton up` starts one.
- Each process tells its work once: commits that went through although nobody heard so, because their owner died, are
  in the log and not in the counters. Bills are made of the log and the books (docs/metering.md), not of these.
- **Labels are bounded.** No label has an id of a session, a call or a key. Where values are not listed below, a label
  has at most {MOST_VALUES} (or as said); those that come later are told together as `{OTHER}`.
- Series whose labels have only known values are there from the beginning, with 0.
- While the fleet is replaced, `/metrics` tells the sums of before, for some seconds.
- `hecaton_sessions`, `hecaton_stuck_sessions` and the error budgets are read from the store, at most every 10 seconds.

`brain` is an id, such as `qwen@1`; of one that was never reached it is `none`. `hand` is the name of a hand, or of
the agent's MCP server elsewhere; `sandbox` are the built-in tools, `web` the web tools, `custom` what the application
runs, `worker` what a worker of a self-hosted environment does. A turn is what lies between running and idle: one that
goes on after a permission is another one. Repeated calls are looked for among a session's last 64 different ones,
since its owner has it in memory.

Some that follow: mean time between failures is `sum(rate(hecaton_turn_duration_seconds_sum[1d])) /
sum(rate(hecaton_session_failures_total[1d]))` seconds of turns; the hit rate of warm sandboxes
`rate(hecaton_sandbox_pool_hits_total[1h])` over that of hits and misses; the part of the prompt that was read from a
cache `rate(hecaton_tokens_total{{kind="cache_read"}}[1h])` over that of all but output.
"""

_RAY = """\
## In Ray's charts

The same metrics, but for those read from the store, go through `ray.util.metrics` to Ray's own Prometheus endpoints,
by which the Ray dashboard's charts are drawn: `ray_hecaton_turns_total` and so on, of each process for itself, with
the further label `part` (`harness`, `gateway`, `sandbox`, `brain`). They are told what has changed every 2 seconds,
not each event: of histograms each value is told as the middle of its bucket, up to 1 000 a bucket at a time, so that
counts and quantiles are right to the bucket and sums are not exact. There counters begin anew with their process.
"""

_PARTS = """\
## What each part says of itself

Asked for when `/metrics` is. A harness, host or replica that does not answer within 2 seconds is left out. Figures
that only grow begin anew with their process; all are gauges to Prometheus.
"""


def reference() -> str:
    """Return the whole page."""
    rows = [_row(metric) for metric in CATALOGUE]
    own = [[f"`{name}`", labels, text] for name, labels, text in SELF_REPORTED]
    return "\n".join(
        [
            _HEAD,
            *_table(("metric", "kind", "unit", "labels", "meaning"), rows),
            _RAY,
            _PARTS,
            *_table(("metric", "labels", "meaning"), own),
        ]
    )


def _row(metric: Metric) -> list[str]:
    kind, labels = metric.kind.value, ", ".join(map(_label, metric.labels))
    return [f"`{metric.name}`", kind, metric.unit, labels, metric.help]


def _label(label: Label) -> str:
    if label.values:
        return f"`{label.name}` ({', '.join(label.values)})"
    return f"`{label.name}`" if label.most == MOST_VALUES else f"`{label.name}` (at most {label.most})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def main(arguments: list[str]) -> None:
    """Write the page to the file named by the only argument."""
    Path(arguments[0]).write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
