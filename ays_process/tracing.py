"""Traces by OpenTelemetry, where the standard variables `OTEL_EXPORTER_OTLP_ENDPOINT` or `..._TRACES_ENDPOINT` name a collector.

The context of a trace travels with a job as its W3C `traceparent`, so that the worker's span hangs below the request's.
"""

import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.trace import NoOpTracerProvider, Span, SpanKind, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = TraceContextTextMapPropagator()
_PROTOCOL = "http/protobuf"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether the environment asks for traces.

    Args:
        environment: the variables of the process.
    """
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER", "").lower() == "none"
    return not off and any(environment.get(name) for name in _ENDPOINTS)


def tracing_mistakes() -> list[str]:
    """What the environment asks for and this process cannot do, one line each."""
    if not wanted(os.environ):
        return []
    mistakes = []
    if _protocol() != _PROTOCOL:
        mistakes.append(f"OTEL_EXPORTER_OTLP_PROTOCOL: received {_protocol()!r}; expected {_PROTOCOL}; change it or leave it out")
    if importlib.util.find_spec("opentelemetry.exporter") is None or importlib.util.find_spec("opentelemetry.sdk") is None:
        mistakes.append("OTEL_EXPORTER_OTLP_ENDPOINT: a collector is named, nothing can send to it; install the extra `otel` or unset it")
    return mistakes


class Tracing:
    """The tracer of a process: it sends spans to a collector, or does nothing at next to no cost.

    Args:
        provider: makes the spans.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self.on = provider is not None
        self.provider = provider or NoOpTracerProvider()
        self._tracer = self.provider.get_tracer("align-your-steps")

    @classmethod
    def of_environment(cls, service: str, version: str) -> "Tracing":
        """Tracing as the `OTEL_` variables say; off when they name no collector. `tracing_mistakes` has none to tell.

        Args:
            service: `service.name` of the spans, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` has another.
            version: `service.version` of the spans.
        """
        return cls(_exporting(service, version)) if wanted(os.environ) else cls()

    @contextmanager
    def consuming(self, name: str, *, traceparent: str, attributes: Mapping[str, str | int | float]) -> Iterator[Span]:
        """A span for work that a request of another process asked for.

        Args:
            name: what is done.
            traceparent: context of the request; '' for none.
            attributes: what is known of the work.
        """
        parent = _PROPAGATOR.extract({"traceparent": traceparent}, context=Context())
        with self._tracer.start_as_current_span(name, context=parent, kind=SpanKind.CONSUMER, attributes=dict(attributes)) as span:
            yield span

    def close(self) -> None:
        """Send what has not been sent yet."""
        shutdown = getattr(self.provider, "shutdown", None)
        if shutdown is not None:
            shutdown()


def traceparent() -> str:
    """The context of the current span, '' where there is none."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent", "")


def failed(span: Span, reason: str) -> None:
    """Mark a span as failed.

    Args:
        span: the span.
        reason: why, for people.
    """
    span.set_status(StatusCode.ERROR, reason)


def _protocol() -> str:
    return os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or _PROTOCOL


def _exporting(service: str, version: str) -> TracerProvider:
    # Installed with the extra `otel` only, and of use only where a collector is named.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider as ExportingProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say comes last, and wins.
    resource = Resource.create({SERVICE_NAME: service, SERVICE_VERSION: version}).merge(OTELResourceDetector().detect())
    provider = ExportingProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
