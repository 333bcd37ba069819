"""What is said about certificates that cannot be used."""

import pytest

from earmark.configuration import SettingsError
from earmark.tls import Pair, ServerCertificate, ServerTls, Source, pair_of, read_authorities, source
from tests.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


def pair(certificate, key) -> Pair:
    return Pair(Source("EARMARK_TLS_CERTIFICATE", str(certificate)), Source("EARMARK_TLS_KEY", str(key)))


def refusal(certificate, key) -> str:
    with pytest.raises(SettingsError) as caught:
        pair(certificate, key).read()
    return str(caught.value)


def test_a_pair_that_cannot_be_used_is_described(authority, tmp_path) -> None:
    one, other = authority.files("one"), authority.files("other")
    old = authority.files("old", expired=True)
    assert pair(one.certificate, one.key).read() == (one.certificate.read_bytes(), one.key.read_bytes())
    missing = tmp_path / "missing.pem"
    assert refusal(missing, one.key) == (
        f"EARMARK_TLS_CERTIFICATE, {missing}, cannot be read: No such file or directory"
    )
    assert "EARMARK_TLS_KEY" in refusal(one.certificate, other.key)
    assert "is not the key of EARMARK_TLS_CERTIFICATE" in refusal(one.certificate, other.key)
    assert "has expired: it was valid until" in refusal(old.certificate, old.key)
    assert "has no certificate in PEM form" in refusal(one.key, one.key)
    assert "has no private key in PEM form" in refusal(one.certificate, one.certificate)


def test_a_secret_is_not_shown(authority) -> None:
    one, other = authority.files("one"), authority.files("other")
    message = refusal(one.certificate.read_text(), other.key.read_text())
    assert message.startswith("EARMARK_TLS_KEY is not the key of EARMARK_TLS_CERTIFICATE")
    assert "PRIVATE" not in message


def test_half_a_pair_is_refused() -> None:
    assert pair_of(None, None) is None
    with pytest.raises(SettingsError, match="EARMARK_TLS_KEY is set without the other of the pair"):
        pair_of(None, source("EARMARK_TLS_KEY", "key.pem"))


def test_authorities_are_checked(authority) -> None:
    assert read_authorities(Source("EARMARK_TLS_CLIENT_CA", str(authority.path)))
    with pytest.raises(SettingsError, match="EARMARK_TLS_CLIENT_CA has no certificate in PEM form"):
        read_authorities(Source("EARMARK_TLS_CLIENT_CA", "-----BEGIN nothing"))


def test_a_pair_that_is_being_replaced_is_no_problem_yet(authority) -> None:
    files = authority.files("replaced")
    certificate = ServerCertificate(ServerTls(pair(files.certificate, files.key), None))
    new = authority.issue()
    files.key.write_bytes(new.private_key_pem.bytes())
    certificate.look()
    assert not certificate.problem
    certificate.look()
    assert "is not the key of" in certificate.problem
    files.write(new)
    certificate.look()
    assert not certificate.problem
