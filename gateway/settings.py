"""The gateway's settings, from EARMARK_* environment variables or from flags of the same names."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from earmark.configuration import SettingsError
from earmark.gateway.fleet.addresses import parse
from earmark.gateway.fleet.links import Links, open_links
from earmark.gateway.quotas import Limits
from earmark.storage import urls
from earmark.storage.sources import Sources
from earmark.tls import ServerTls, pair_of, source
from earmark.tracing import checked_endpoint


class GatewaySettings(BaseSettings):
    """Settings of `python -m earmark.gateway`. Each is also a flag: EARMARK_PORT is --port."""

    model_config = SettingsConfigDict(
        env_prefix="EARMARK_",
        cli_parse_args=False,
        cli_kebab_case=True,
        cli_prog_name="python -m earmark.gateway",
    )

    host: str = Field(
        "127.0.0.1", description="Address to listen on. Beyond loopback, each call needs an API key."
    )
    port: int = Field(50051, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port for /metrics, /healthz and /readyz over HTTP, without keys; none if unset.",
    )
    metrics_host: str = Field("127.0.0.1", description="Address that METRICS_PORT listens on.")
    traces_endpoint: Annotated[str, AfterValidator(checked_endpoint)] | None = Field(
        None,
        description="Collector that gets OpenTelemetry traces over OTLP/gRPC, http://HOST:PORT or https://;"
        " none if unset.",
    )
    data_dir: Path = Field(
        Path("earmark-data"), description="Folder of the embedded PostgreSQL and of the objects."
    )
    disk_reserve_mb: int = Field(
        1024,
        ge=0,
        description="MiB to keep free on the disks of DATA_DIR and of a folder of objects; with less, uploads"
        " are refused.",
    )
    database_url: str | None = Field(
        None,
        repr=False,
        description="postgresql://… of any PostgreSQL from 14 on; the embedded one if unset.",
    )
    database_pool_size: int = Field(10, ge=2, description="Connections to PostgreSQL.")
    object_store: str | None = Field(
        None, description="Folder, s3://, gs:// or az:// of the objects; DATA_DIR/objects if unset."
    )
    detection_sources: str = Field(
        "",
        description="Places whose objects any caller may have searched by reference, comma-separated:"
        " file:///FOLDER, s3://, gs:// or az://; none by default. The trainers need the same.",
    )
    trainers: str = Field(
        "127.0.0.1:50052",
        description="Trainers, comma-separated: host:port, or dns:///name:port for all addresses of a name.",
    )
    trainer_secret: str | None = Field(
        None,
        repr=False,
        description="Secret that calls of the trainers are signed with; by default the one in DATA_DIR.",
    )
    trainer_tls_ca: str | None = Field(
        None,
        description="Authority of the trainers' certificates, a PEM file or the PEM itself; connections to "
        "them are not encrypted if unset.",
    )
    trainer_tls_certificate: str | None = Field(
        None, description="Certificate that trainers know the gateway by: a PEM file, or the PEM itself."
    )
    trainer_tls_key: str | None = Field(
        None, repr=False, description="Key of that certificate: a PEM file, or the PEM itself."
    )
    trainer_tls_name: str | None = Field(
        None, description="Name in the certificates of all trainers; by default each one's host."
    )
    tls_certificate: str | None = Field(
        None,
        description="Certificate for clients, a PEM file or the PEM itself; connections are not encrypted if "
        "unset.",
    )
    tls_key: str | None = Field(
        None, repr=False, description="Key of that certificate: a PEM file, or the PEM itself."
    )
    tls_client_ca: str | None = Field(
        None, description="Authority of the clients' certificates; clients need none if unset."
    )
    lease_seconds: float = Field(
        20,
        gt=0,
        le=300,
        description="A job whose gateway is silent for this long is taken over by another gateway.",
    )
    trainer_silence_seconds: float = Field(
        15, gt=0, description="A trainer that sends nothing for this long is considered lost."
    )
    max_attempts: int = Field(
        3, ge=1, description="A job fails after losing this many trainers in a row without a new checkpoint."
    )
    retry_seconds: float = Field(
        1,
        ge=0,
        description="Backoff after two losses in a row; times five after each further one, up to 20 s.",
    )
    max_waiting_jobs: int = Field(
        1000, ge=0, description="Jobs of a tenant that may wait for a trainer; 0 for no limit."
    )
    max_training_jobs: int = Field(
        0, ge=0, description="Jobs of a tenant that may train at once; 0 for no limit."
    )
    max_detection_jobs: int = Field(
        0, ge=0, description="Detection jobs of a tenant that may run at once; 0 for no limit."
    )
    max_tenant_storage_mb: int = Field(
        0, ge=0, description="MiB of audio and models that a tenant may store; 0 for no limit."
    )
    max_tenant_audio_hours: int = Field(
        0, ge=0, description="Hours of audio files that a tenant may have; 0 for no limit."
    )
    max_tenant_files: int = Field(
        0, ge=0, description="Audio files and recordings that a tenant may have; 0 for no limit."
    )
    max_tenant_detection_seconds: int = Field(
        0, ge=0, description="Seconds of audio that a tenant may search in a day (UTC); 0 for no limit."
    )
    max_tenant_streams: int = Field(
        0, ge=0, description="Streams that a tenant may have in a gateway at once; 0 for no limit."
    )
    max_tenant_requests: int = Field(
        0, ge=0, description="Requests a second that a tenant may make to a gateway; 0 for no limit."
    )
    max_caller_uploads: int = Field(50, ge=1, description="Uploads that a caller may have at once.")
    max_caller_downloads: int = Field(100, ge=1, description="Downloads that a caller may have at once.")
    max_caller_detections: int = Field(100, ge=1, description="Detections that a caller may have at once.")
    max_caller_watches: int = Field(10_000, ge=1, description="Watches that a caller may have at once.")
    max_caller_message_mb: int = Field(
        128, ge=8, description="MiB of messages in work that a caller may have at once, without streams."
    )
    max_tenant_callers: int = Field(
        4, ge=1, description="The API keys of a tenant together may have as much as so many callers."
    )
    reflection: Literal["public", "key", "admin"] = Field(
        "key",
        description="Who may read the contract by reflection once API keys are needed: everybody, whoever has"
        " a key, or keys with the scope ADMIN.",
    )
    max_unfinished_upload_mb: int = Field(
        10_240, ge=1, description="MiB of unfinished uploads on disk, of all callers together."
    )
    stream_idle_seconds: float = Field(
        30, gt=0, description="An upload or detection that sends nothing for this long is ended."
    )
    long_call_connections: int = Field(
        3, ge=1, description="Further connections to PostgreSQL, for calls that take long."
    )
    heartbeat_seconds: float = Field(10, gt=0, description="Time between two messages of an idle watch.")
    event_retention_days: float = Field(
        90,
        gt=0,
        le=36500,
        description="After this time, all events of a finished job except the last are removed.",
    )
    access_log: bool = Field(
        default=False, description="Whether the log has a line for each call, when it has ended."
    )
    audit_days: float = Field(
        365, ge=1, le=36500, description="After this time, entries of the audit log are removed."
    )
    stop_grace_seconds: float = Field(
        5, ge=0, description="Time for running calls to finish when the gateway stops."
    )

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, url: str | None) -> str | None:
        if url is not None:
            urls.check(url)
        return url

    @field_validator("detection_sources")
    @classmethod
    def _check_detection_sources(cls, places: str) -> str:
        Sources(places)
        return places

    @field_validator("trainers")
    @classmethod
    def _check_trainers(cls, trainers: str) -> str:
        for entry in _split(trainers):
            parse(entry)
        return trainers

    @property
    def caller_limits(self) -> dict[str, int]:
        """What a caller may have at once, by the kinds of gateway.shares."""
        return {
            "uploads": self.max_caller_uploads,
            "downloads": self.max_caller_downloads,
            "detections": self.max_caller_detections,
            "watches": self.max_caller_watches,
            "message_bytes": self.max_caller_message_mb << 20,
        }

    @property
    def tenant_limits(self) -> Limits:
        """What a tenant without a quota of its own may use."""
        return Limits(
            storage_bytes=self.max_tenant_storage_mb << 20,
            audio_seconds=self.max_tenant_audio_hours * 3600,
            files=self.max_tenant_files,
            waiting_training_jobs=self.max_waiting_jobs,
            running_training_jobs=self.max_training_jobs,
            waiting_detection_jobs=self.max_waiting_jobs,
            running_detection_jobs=self.max_detection_jobs,
            detection_seconds_per_day=self.max_tenant_detection_seconds,
            streams=self.max_tenant_streams,
            requests_per_second=self.max_tenant_requests,
        )

    @property
    def sources(self) -> Sources:
        """The places of `detection_sources`."""
        return Sources(self.detection_sources)

    @property
    def tls(self) -> ServerTls | None:
        """How clients connect; None if connections are not encrypted.

        Raises SettingsError for a part of what TLS needs.
        """
        pair = pair_of(
            source("EARMARK_TLS_CERTIFICATE", self.tls_certificate), source("EARMARK_TLS_KEY", self.tls_key)
        )
        ca = source("EARMARK_TLS_CLIENT_CA", self.tls_client_ca)
        if pair is None and ca is not None:
            raise SettingsError(
                "EARMARK_TLS_CLIENT_CA is set without a certificate of the gateway: set "
                "EARMARK_TLS_CERTIFICATE and EARMARK_TLS_KEY, too"
            )
        return None if pair is None else ServerTls(pair, ca)

    def open_links(self) -> Links:
        """How trainers are called; reads files and may write one. Raises SettingsError."""
        pair = pair_of(
            source("EARMARK_TRAINER_TLS_CERTIFICATE", self.trainer_tls_certificate),
            source("EARMARK_TRAINER_TLS_KEY", self.trainer_tls_key),
        )
        ca = source("EARMARK_TRAINER_TLS_CA", self.trainer_tls_ca)
        return open_links(self.trainer_secret, self.data_dir, ca, pair, self.trainer_tls_name or "")

    @property
    def object_store_url(self) -> str:
        """URL or folder of the object store."""
        return self.object_store or str(self.data_dir / "objects")

    @property
    def trainer_addresses(self) -> list[str]:
        """The entries of `trainers`."""
        return _split(self.trainers)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
