"""Certificates for tests: of an authority that is made anew, never of files in the repository."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Files:
    """A certificate and its key as PEM files."""

    certificate: Path
    key: Path

    def write(self, certificate: trustme.LeafCert) -> None:
        """Replaces both. Each is complete at any time, as when a secret is mounted."""
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        for path, data in ((self.certificate, chain), (self.key, certificate.private_key_pem.bytes())):
            new = path.with_suffix(".new")
            new.write_bytes(data)
            new.replace(path)


class Authority:
    """Signs certificates for 127.0.0.1 and other names."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self.path = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(self.path)

    def issue(self, *names: str, expired: bool = False) -> trustme.LeafCert:
        until = datetime.now(UTC) - timedelta(days=1) if expired else None
        return self._ca.issue_cert(*(names or ("127.0.0.1", "localhost")), not_after=until)

    def files(self, name: str, *names: str, expired: bool = False) -> Files:
        files = Files(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        files.write(self.issue(*names, expired=expired))
        return files
