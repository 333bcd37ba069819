"""How traces are turned on, and what they need."""

import sys

import pytest

from earmark.configuration import SettingsError
from earmark.tracing import UNTRACED, checked_endpoint, tracing


@pytest.mark.parametrize("url", ["http://localhost:4317", "https://collector.example/", "http://[::1]:4317"])
def test_a_collector_has_a_url(url) -> None:
    assert checked_endpoint(url) == url


@pytest.mark.parametrize(
    "url", ["localhost:4317", "grpc://localhost:4317", "http://", "http://me:secret@host:4317", "http://a/b"]
)
def test_anything_else_is_refused(url) -> None:
    with pytest.raises(ValueError, match="http://localhost:4317"):
        checked_endpoint(url)


async def test_without_a_collector_nothing_is_traced(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "earmark.otel", None)
    async with tracing(None, "service") as tracer:
        assert tracer.begin("a span", "server", "") is UNTRACED
        assert not tracer.serve("/service/Method", ()).metadata


async def test_opentelemetry_can_be_turned_off_by_its_own_variable(monkeypatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    async with tracing("http://127.0.0.1:1", "service") as tracer:
        span = tracer.serve("/service/Method", ())
        span.part("a part", 0)
        span.end_call("OK")
    assert not span.metadata


async def test_the_extra_is_asked_for_in_words(monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "earmark.otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(SettingsError, match=r"OpenTelemetry is not installed: pip install 'earmark\[otel\]'"):
        async with tracing("http://localhost:4317", "service"):
            raise AssertionError("it has begun")
