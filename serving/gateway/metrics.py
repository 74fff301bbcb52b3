"""What Prometheus reads at /metrics. Names begin with `suresql_`; no label tells a tenant, a question or a key."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """One application's figures, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "suresql_requests", "Requests answered", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "suresql_request_seconds",
            "Time to the answer's end",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.first_byte = Histogram(
            "suresql_first_byte_seconds", "Time to the answer's first byte", ["route"], buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.tokens = Counter("suresql_tokens", "Tokens of answers", ["kind"], registry=self.registry)
        self.refused = Counter("suresql_refused", "Requests refused", ["reason"], registry=self.registry)
        self.confidence = Histogram(
            "suresql_confidence",
            "Confidence of answers",
            buckets=[i / 10 for i in range(1, 11)],
            registry=self.registry,
        )
        self.abstained = Counter("suresql_abstained", "Answers that abstain", registry=self.registry)
        self.signal_seconds = Histogram(
            "suresql_signal_seconds",
            "What a signal takes",
            ["signal"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.waiting = Gauge("suresql_waiting", "Requests that wait for a slot", registry=self.registry)
        self.ready = Gauge("suresql_ready", "Whether questions can be asked", registry=self.registry)
        self.engines_well = Gauge("suresql_engines_well", "Engines that answer", registry=self.registry)
        self.in_flight = Gauge("suresql_engine_requests", "Requests in the engines", registry=self.registry)
        self.engine_failures = Gauge(
            "suresql_engine_failures", "Requests that an engine failed", registry=self.registry
        )
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request: by its route's template, never by its path."""
        found = self._children.get((route, status))
        if found is None:
            found = self.requests.labels(route, str(status)), self.seconds.labels(route)
            self._children[route, status] = found
        found[0].inc()
        found[1].observe(seconds)

    def text(self) -> bytes:
        """In Prometheus' form."""
        return generate_latest(self.registry)
