"""Trainer addresses: valid entries, errors for malformed ones, and resolution of names."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from earmark.gateway.fleet.addresses import Entry, parse, resolve
from earmark.gateway.settings import GatewaySettings

LABELS = st.from_regex(r"[a-z0-9_-]{1,63}", fullmatch=True)
HOSTS = st.one_of(
    st.lists(LABELS, min_size=1, max_size=3).map(".".join),
    st.ip_addresses().map(str),
)
ENTRIES = st.builds(Entry, HOSTS, st.integers(1, 65535), st.booleans())


@given(ENTRIES)
def test_an_entry_is_parsed_as_it_is_printed(entry) -> None:
    assert parse(str(entry)) == entry


@given(st.text() | st.text(alphabet="dns:/[]a1.", max_size=12))
def test_any_text_parses_or_raises_a_value_error(text) -> None:
    try:
        entry = parse(text)
    except ValueError:
        return
    assert parse(str(entry)) == entry


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("127.0.0.1:50052", Entry("127.0.0.1", 50052, is_name=False)),
        ("Trainer-1.Local:1", Entry("trainer-1.local", 1, is_name=False)),
        ("[0:0::1]:65535", Entry("::1", 65535, is_name=False)),
        ("dns:///trainers.earmark.svc:50052", Entry("trainers.earmark.svc", 50052, is_name=True)),
    ],
)
def test_valid_entries(text, entry) -> None:
    assert parse(text) == entry


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("trainer", "has no port"),
        ("[::1]", "has no port"),
        (":50052", "has no host"),
        ("dns:///:50052", "has no host"),
        ("trainer:0", "has the port '0'"),
        ("trainer:65536", "has the port '65536'"),
        ("trainer:http", "has the port 'http'"),
        ("trainer:²", "has the port"),
        ("::1:50052", "goes into brackets"),
        ("[trainer]:50052", "no IPv6 address in its brackets"),
        ("two words:50052", "neither a name nor an address"),
        (f"{'a' * 64}:50052", "neither a name nor an address"),
        ("http://trainer:50052", "a scheme or a path"),
        ("dns://10.0.0.1/trainer:50052", "a scheme or a path"),
    ],
)
def test_the_error_names_what_is_malformed(text, problem) -> None:
    with pytest.raises(ValueError, match="a trainer is host:port") as error:
        parse(text)
    assert problem in str(error.value)
    assert repr(text) in str(error.value)


async def test_a_name_with_addresses_of_both_families_resolves_to_ipv4_only() -> None:
    assert await resolve("localhost", 50052) == ["127.0.0.1:50052"]
    assert await resolve("::1", 50052) == ["[::1]:50052"]


async def test_an_unknown_name_raises_an_os_error() -> None:
    with pytest.raises(OSError, match=r"not known|failure|No address"):
        await resolve("trainers.invalid", 50052)


def test_the_setting_is_checked_per_entry() -> None:
    settings = GatewaySettings(trainers=" a:1, ,dns:///b:2,")
    assert settings.trainer_addresses == ["a:1", "dns:///b:2"]
    with pytest.raises(ValidationError, match="'b' has no port"):
        GatewaySettings(trainers="a:1,b")


def test_a_gateway_with_malformed_settings_exits_and_names_them() -> None:
    command = [sys.executable, "-m", "earmark.gateway", "--port", "99999", "--trainers", "a:1,b"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    port, trainers = done.stderr.splitlines()
    assert port.startswith("gateway: EARMARK_PORT is '99999': ")
    assert trainers.startswith("gateway: EARMARK_TRAINERS is 'a:1,b': 'b' has no port; ")
