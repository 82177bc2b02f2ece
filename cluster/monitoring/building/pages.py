"""The dashboards. Whatever they show is a metric of the catalogue, or what the recording rules make of it."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from cluster.monitoring.building.panels import Query, choice, counted, graph, number, page, row

_BRAIN = '{brain=~"$brain"}'
_HAND = '{hand=~"$hand"}'


def overview() -> dashboard.Dashboard:
    """What goes on, and whether it is well."""
    return (
        page("overview", "Overview", "What the platform does, and whether it is well.")
        .with_panel(number("Sessions running", "short", 'max(hecaton_sessions{state="running"})'))
        .with_panel(number("Turns", "ops", "sum(hecaton:turns:rate5m)"))
        .with_panel(number("Turn, p95", "s", "hecaton:turn_duration_seconds:p95_5m"))
        .with_panel(
            number(
                "Answers with 5xx", "reqps", 'sum(hecaton:http_requests:rate5m{status=~"5.."}) or vector(0)', warn=0.1
            )
        )
        .with_panel(number("Stuck sessions", "short", "max(hecaton_stuck_sessions)", warn=1))
        .with_panel(
            number(
                "MTBF",
                "s",
                "hecaton:mtbf_seconds:1d",
                warn=36_000,
                low_is_bad=True,
                about="A day over the sessions' failures in it; a day without one counts as one with one.",
            )
        )
        .with_row(row("Sessions"))
        .with_panel(
            graph("Sessions by state", "short", Query("max by (state) (hecaton_sessions)", "{{state}}"), stacked=True)
        )
        .with_panel(graph("Turns by outcome", "ops", Query("hecaton:turns:rate5m", "{{outcome}}"), stacked=True))
        .with_panel(
            graph(
                "Latency, p95",
                "s",
                Query("hecaton:turn_duration_seconds:p95_5m", "turn"),
                Query("max(brain:hecaton_time_to_first_token_seconds:p95_5m)", "first token, slowest brain"),
            )
        )
        .with_panel(counted("Threads created", "hecaton_threads_total", "kind"))
        .with_panel(graph("Event streams and leases", "short", Query("max(hecaton_streams)", "streams"), *_leases()))
        .with_row(row("API"))
        .with_panel(
            graph("Requests by route", "reqps", Query("sum by (route) (hecaton:http_requests:rate5m)", "{{route}}"))
        )
        .with_panel(
            graph(
                "Latency by route, p95", "s", Query("route:hecaton_http_request_duration_seconds:p95_5m", "{{route}}")
            )
        )
        .with_row(row("Log and owners"))
        .with_panel(
            graph(
                "Commit of the log",
                "s",
                Query("hecaton:log_append_duration_seconds:p99_5m", "p99"),
            )
        )
        .with_panel(graph("Events that wait for their commit", "short", Query("max(hecaton_log_lag_events)", "events")))
        .with_panel(
            graph(
                "Events in a transaction, mean",
                "short",
                Query(
                    "max(rate(hecaton_log_append_batch_events_sum[5m]))"
                    " / max(rate(hecaton_log_append_batch_events_count[5m]))",
                    "events",
                ),
            )
        )
        .with_panel(
            graph(
                "Takeovers, retries and failed observers in 5 minutes",
                "short",
                Query("max(increase(hecaton_takeovers_total[5m]))", "partitions taken over"),
                Query("max by (what) (increase(hecaton_retries_total[5m]))", "retries: {{what}}"),
                Query("max by (observer) (increase(hecaton_observer_failures_total[5m]))", "failed: {{observer}}"),
            )
        )
        .with_panel(counted("Evaluations of outcomes", "hecaton_outcome_evaluations_total", "result"))
        .with_row(row("Deployments"))
        .with_panel(counted("Runs of deployments", "hecaton_deployment_runs_total", "trigger", "outcome"))
        .with_panel(
            graph(
                "Lateness of schedules (95th percentile)",
                "s",
                Query(
                    "histogram_quantile(0.95, max by (le) (rate(hecaton_deployment_lateness_seconds_bucket[10m])))",
                    "after their time, jitter included",
                ),
            )
        )
        .with_row(row("Webhooks"))
        .with_panel(
            counted(
                "Attempts to post a message",
                "hecaton_webhook_attempts_total",
                "outcome",
                about="Of registered webhooks. The alert comes when more than half of 10 or more fail.",
            )
        )
        .with_row(row("Files"))
        .with_panel(
            graph(
                "Bytes of files",
                "Bps",
                Query("max by (way) (rate(hecaton_file_bytes_total[5m]))", "{{way}}"),
                about="Uploaded, downloaded, and left by sessions as outputs.",
            )
        )
        .with_row(row("Anomalies"))
        .with_panel(
            graph("Anomalies in 10 minutes", "short", Query("max by (kind) (increase(hecaton_anomalies_total[10m]))"))
        )
        .with_panel(
            graph(
                "Repeated tool calls",
                "ops",
                Query("max(rate(hecaton_repeated_tool_calls_total[5m]))", "same tool, input and result"),
            )
        )
    )


def _leases() -> list[Query]:
    return [Query("max by (harness) (hecaton_leases)", "partitions of {{harness}}")]


def sla() -> dashboard.Dashboard:
    """Promises, and what is left of their error budgets."""
    named = "{{slo}} {{brain}}{{hand}}"
    return (
        page("sla", "SLA", "What was promised, how much of it was broken, and what is left of the error budgets.")
        .with_panel(
            graph(
                "Error budget left, 3 days",
                "percentunit",
                Query("slo:hecaton_error_budget_remaining:ratio3d", named),
                about="Below zero the objective is missed over the last three days.",
            )
        )
        .with_panel(
            graph(
                "Rate of burn, 1 hour",
                "short",
                Query("slo:hecaton_error_ratio:rate1h / on (slo) group_left () slo:hecaton_error_budget:ratio", named),
                about="1 uses the budget up exactly; the alert for fast burning comes at 14.4 and at 6.",
            )
        )
        .with_panel(graph("What failed, 5 minutes", "percentunit", Query("slo:hecaton_error_ratio:rate5m", named)))
        .with_panel(graph("What failed, 6 hours", "percentunit", Query("slo:hecaton_error_ratio:rate6h", named)))
        .with_row(row("Hands' contracts"))
        .with_panel(
            graph(
                "Error budget of hands",
                "percentunit",
                Query("min by (hand) (hecaton_hand_error_budget_remaining_ratio)", "{{hand}}"),
                about="By each hand's own contract, the worst of its promises. Below zero one is broken.",
            )
        )
        .with_panel(
            graph("Latency of hands, p95", "s", Query("hand:hecaton_tool_call_duration_seconds:p95_5m", "{{hand}}"))
        )
        .with_row(row("Reliability"))
        .with_panel(
            graph(
                "Time between failures",
                "s",
                Query("hecaton:mtbf_seconds:1d", "by the clock"),
                Query("hecaton:mtbf_turn_seconds:1d", "of turns"),
            )
        )
        .with_panel(
            graph(
                "Failures of sessions in an hour",
                "short",
                Query("max(increase(hecaton_session_failures_total[1h]))", "failures"),
            )
        )
    )


def brains() -> dashboard.Dashboard:
    """What thinks: load, latency, tokens, replicas."""
    spikes = (
        Query(f"brain:hecaton_model_request_duration_seconds:p95_5m{_BRAIN}", "{{brain}}"),
        Query(f"1.2 * (brain:hecaton_model_request_duration_seconds:p95_1h{_BRAIN} offset 10m)", "{{brain}}: alert"),
    )
    return (
        page("brains", "Brains", "Load, latency, tokens and replicas of each brain.")
        .with_variable(choice("brain", "Brain", "hecaton_model_requests_total"))
        .with_panel(
            graph("Model requests", "reqps", Query(f"hecaton:model_requests:rate5m{_BRAIN}", "{{brain}} {{outcome}}"))
        )
        .with_panel(graph("Model requests, p95 and when it is a spike", "s", *spikes))
        .with_panel(
            graph(
                "Time to the first token, p95",
                "s",
                Query(f"brain:hecaton_time_to_first_token_seconds:p95_5m{_BRAIN}", "{{brain}}"),
            )
        )
        .with_panel(
            graph(
                "Waiting for a place",
                "short",
                Query(
                    f"sum by (brain) (max by (harness, brain) (hecaton_brain_requests_waiting{_BRAIN}))", "{{brain}}"
                ),
            )
        )
        .with_row(row("Tokens"))
        .with_panel(
            graph(
                "Tokens",
                "short",
                Query(
                    f"max by (brain, kind) (rate(hecaton_tokens_total{_BRAIN}[5m]))", "{{brain}} {{kind}} per second"
                ),
            )
        )
        .with_panel(
            graph(
                "Input tokens read from a cache",
                "percentunit",
                Query(
                    'max by (brain) (rate(hecaton_tokens_total{brain=~"$brain", kind="cache_read"}[5m]))'
                    ' / sum by (brain) (max by (brain, kind) (rate(hecaton_tokens_total{brain=~"$brain",'
                    ' kind!="output"}[5m])))',
                    "{{brain}}",
                ),
            )
        )
        .with_row(row("Replicas"))
        .with_panel(graph("Replicas", "short", Query(f"max by (brain) (hecaton_brain_replicas{_BRAIN})", "{{brain}}")))
        .with_panel(
            graph(
                "GPUs held",
                "short",
                Query(f"max by (brain) (rate(hecaton_brain_gpu_seconds_total{_BRAIN}[5m]))", "{{brain}}"),
                Query("avg(ray_node_gpus_utilization) / 100", "at work, mean of all (Ray)"),
            )
        )
    )


def hands() -> dashboard.Dashboard:
    """What acts: hands, sandboxes, and the machines under them."""
    spikes = (
        Query(f"hand:hecaton_tool_call_duration_seconds:p95_5m{_HAND}", "{{hand}}"),
        Query(f"1.2 * (hand:hecaton_tool_call_duration_seconds:p95_1h{_HAND} offset 10m)", "{{hand}}: alert"),
    )
    return (
        page("hands", "Hands", "Calls, queues, latency and replicas of each hand, and the sandboxes.")
        .with_variable(choice("hand", "Hand", "hecaton_tool_calls_total"))
        .with_panel(graph("Calls", "reqps", Query(f"hecaton:tool_calls:rate5m{_HAND}", "{{hand}} {{outcome}}")))
        .with_panel(graph("Calls, p95 and when it is a spike", "s", *spikes))
        .with_panel(
            graph(
                "Running and waiting",
                "short",
                Query(f"max by (hand) (hecaton_hand_calls_running{_HAND})", "{{hand}} running"),
                Query(f"max by (hand) (hecaton_hand_calls_waiting{_HAND})", "{{hand}} waiting"),
            )
        )
        .with_panel(graph("Replicas", "short", Query(f"max by (hand) (hecaton_hand_replicas{_HAND})", "{{hand}}")))
        .with_row(row("Sandboxes"))
        .with_panel(
            graph(
                "Sandboxes",
                "short",
                Query("max(hecaton_sandbox_live)", "live"),
                Query("max(hecaton_sandbox_warm)", "warm"),
            )
        )
        .with_panel(
            graph(
                "Until a session has its sandbox",
                "s",
                Query(
                    "hecaton:sandbox_provision_duration_seconds:p95_5m",
                    "p95",
                ),
            )
        )
        .with_panel(
            graph("Sessions that found a warm one", "percentunit", Query("hecaton:sandbox_pool_hits:ratio15m", "share"))
        )
        .with_panel(
            graph(
                "Evictions", "ops", Query("max(rate(hecaton_sandbox_evictions_total[5m]))", "idle sandboxes put away")
            )
        )
        .with_row(row("Memory stores"))
        .with_panel(
            counted(
                "Memories that passes brought over, or not,",
                "hecaton_memory_changes_total",
                "what",
                about="Between stores and sandboxes' directories. Lost: changed on both sides, the store's was kept.",
            )
        )
        .with_panel(
            counted(
                "Passes",
                "hecaton_memory_passes_total",
                "outcome",
                about="Failed ones are made again with the session's next call. Gone: the store was deleted.",
            )
        )
        .with_row(row("Skills and repositories"))
        .with_panel(
            counted(
                "Copies of skills",
                "hecaton_skill_copies_total",
                "outcome",
                about="Into sandboxes, by what came of them. Gone: the skill was deleted; the session does without it.",
            )
        )
        .with_panel(
            counted(
                "Copies of repositories",
                "hecaton_repository_copy_duration_seconds_count",
                "outcome",
                about="Of Git repositories for sandboxes, by what came of them.",
            )
        )
        .with_row(row("Machines (Ray)"))
        .with_panel(graph("CPU", "percent", Query("avg by (instance) (ray_node_cpu_utilization)", "{{instance}}")))
        .with_panel(
            graph(
                "Memory",
                "percentunit",
                Query("sum by (instance) (ray_node_mem_used) / sum by (instance) (ray_node_mem_total)", "{{instance}}"),
            )
        )
    )


def cost() -> dashboard.Dashboard:
    """What it costs, and what for."""
    return (
        page("cost", "Cost", "What it costs by brain and hand, per hour, turn and token.")
        .with_panel(number("Per hour now", "currencyUSD", "sum(hecaton:cost_usd_per_hour:15m)"))
        .with_panel(number("Per hour, 6 hours", "currencyUSD", "sum(hecaton:cost_usd_per_hour:6h)"))
        .with_panel(
            number(
                "Last day",
                "currencyUSD",
                "sum(max by (brain) (increase(hecaton_cost_usd_total[1d])))"
                " + (sum(max by (hand) (increase(hecaton_hand_cost_usd_total[1d]))) or vector(0))",
            )
        )
        .with_panel(
            number(
                "Per turn, 1 hour",
                "currencyUSD",
                "sum(max by (brain) (increase(hecaton_cost_usd_total[1h])))"
                " / (sum(max by (outcome) (increase(hecaton_turns_total[1h]))) > 0)",
            )
        )
        .with_panel(
            number(
                "Per 1000 tokens, 1 hour",
                "currencyUSD",
                "1000 * sum(max by (brain) (increase(hecaton_cost_usd_total[1h])))"
                " / (sum(max by (brain, kind) (increase(hecaton_tokens_total[1h]))) > 0)",
            )
        )
        .with_row(row("By part"))
        .with_panel(
            graph(
                "Tokens of brains, per hour",
                "currencyUSD",
                Query('hecaton:cost_usd_per_hour:15m{part="brain"}', "{{brain}}"),
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "Calls of hands, per hour",
                "currencyUSD",
                Query('hecaton:cost_usd_per_hour:15m{part="hand"}', "{{hand}}"),
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "Against what was usual",
                "short",
                Query("hecaton:cost_usd_per_hour:15m / (hecaton:cost_usd_per_hour:6h offset 20m)", "{{brain}}{{hand}}"),
                about="The alert comes at 2.",
            )
        )
        .with_panel(
            graph(
                "Replicas of declared brains, per hour",
                "currencyUSD",
                Query("max by (brain) (hecaton_brain_usd_per_hour)", "{{brain}}"),
                Query("max by (brain) (hecaton_brain_ceiling_usd_per_hour)", "{{brain}}: ceiling"),
            )
        )
    )


PAGES = {"overview": overview, "sla": sla, "brains": brains, "hands": hands, "cost": cost}
