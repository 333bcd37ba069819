"""The trainer's settings: EARMARK_* environment variables, or flags of the same names."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from earmark.configuration import SettingsError
from earmark.storage.sources import Sources
from earmark.tls import ServerTls, pair_of, source
from earmark.tracing import checked_endpoint
from earmark.trainer.job import NetworkSize
from earmark.trainer_secret import is_loopback


class TrainerSettings(BaseSettings):
    """Earmark's trainer: decodes audio, trains models and detects with them, over gRPC.

    Every flag can also be set in the environment: --trainer-port is EARMARK_TRAINER_PORT.
    """

    model_config = SettingsConfigDict(
        env_prefix="EARMARK_",
        cli_parse_args=False,
        cli_kebab_case=True,
        cli_prog_name="python -m earmark.trainer",
    )

    host: str = Field("127.0.0.1", description="Address to listen on; keep it private to the gateways.")
    trainer_port: int = Field(50052, ge=0, le=65535, description="Port to listen on; 0 chooses a free one.")
    trainer_metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port for /metrics, /healthz and /readyz over HTTP, without a secret; none if unset.",
    )
    metrics_host: str = Field("127.0.0.1", description="Address that TRAINER_METRICS_PORT listens on.")
    traces_endpoint: Annotated[str, AfterValidator(checked_endpoint)] | None = Field(
        None,
        description="Collector that gets OpenTelemetry traces over OTLP/gRPC, http://HOST:PORT or https://;"
        " none if unset.",
    )
    trainer_secret: str | None = Field(
        None,
        repr=False,
        description="Secret that gateways sign their calls with, or several; by default the one in DATA_DIR.",
    )
    trainer_tls_certificate: str | None = Field(
        None, description="Certificate of the trainer: path of a PEM file, or the PEM itself."
    )
    trainer_tls_key: str | None = Field(
        None, repr=False, description="Key of the certificate: path of a PEM file, or the PEM itself."
    )
    trainer_tls_ca: str | None = Field(
        None,
        description="Authority of the gateways' certificates; without it, gateways need none.",
    )
    trainer_reflection: bool | None = Field(
        None, description="Whether to describe the rpcs to whoever asks; by default on loopback only."
    )
    data_dir: Path = Field(
        Path("earmark-data"),
        description="Folder of the objects and of temporary files; shared with a gateway on this machine.",
    )
    object_store: str | None = Field(
        None, description="Folder, s3://, gs:// or az:// of the objects; by default DATA_DIR/objects."
    )
    detection_sources: str = Field(
        "",
        description="Places whose objects detection jobs may search by reference, comma-separated:"
        " file:///FOLDER, s3://, gs:// or az://; none by default. As the gateways have it.",
    )
    device: str = Field(
        "",
        pattern=r"^(cpu|cuda(:(all|\d+(,\d+)*))?)?$",
        description="Devices to train and to detect on: cpu, cuda, cuda:N, several GPUs as cuda:N,M, or"
        " cuda:all; by default the best one there is.",
    )
    executor: Literal["local", "ray"] = Field(
        "local",
        description="Where jobs and audio files are worked on: local is this machine, ray the nodes of a Ray"
        " cluster.",
    )
    ray_address: str | None = Field(
        None,
        pattern=r"^[^/]+:\d+$",
        description="HOST:PORT of the head of the Ray cluster; by default that of this machine.",
    )
    audio_processes: int = Field(
        os.cpu_count() or 1,
        ge=1,
        description="Audio files decoded at a time; by default one per core.",
    )
    audio_memory_mb: int = Field(
        2048,
        ge=512,
        description="MiB of memory that decoding a file may use; one that needs more is refused.",
    )
    audio_max_samples: int = Field(
        1 << 30,
        ge=1 << 20,
        description="Samples of all channels that a file may have; the default is 3 h of stereo at 48 kHz.",
    )
    audio_max_samples_per_second: int = Field(
        400_000,
        ge=8_000,
        description="Samples of all channels in a second of audio; the default is 8 channels at 48 kHz.",
    )
    audio_min_speed: float = Field(
        4.0,
        gt=0,
        description="Seconds of audio per second of CPU time; a file that is slower to decode is given up.",
    )
    audio_max_seconds: float = Field(
        3600.0,
        gt=0,
        description="Time in which a long file must be decoded, on the clock.",
    )
    audio_scratch_mb: int = Field(
        8192,
        ge=64,
        description="MiB on disk that decoding a file may take, beside the file itself.",
    )
    audio_files_per_process: int = Field(
        200,
        ge=1,
        description="Files that a decoding process decodes before a new one replaces it.",
    )
    live_streams: int = Field(
        50,
        ge=0,
        description="Live streams that may be open at once; each has a decoding process of its own.",
    )
    disk_reserve_mb: int = Field(
        1024,
        ge=0,
        description="MiB to keep free on the disk of DATA_DIR; with less the trainer takes no work.",
    )
    gpu_memory_fraction: float = Field(
        0.75, gt=0, le=0.95, description="Share of the GPU's memory that training allocates at start."
    )
    gpu_detection_memory_fraction: float = Field(
        0.15, gt=0, le=0.95, description="Share of the GPU's memory that detection may use at most."
    )
    precompile: bool = Field(
        default=True,
        description="Compile the training of the default configuration, and detection, before the first.",
    )
    network: NetworkSize = Field(
        "standard",
        description="The network to train; tiny is for tests and drills, its models detect nothing useful.",
    )
    stop_grace_seconds: float = Field(
        20,
        ge=0,
        description="Time for running audio files and detections to finish when the trainer stops.",
    )
    heartbeat_seconds: float = Field(
        2.0,
        gt=0,
        le=60,
        description="Longest silence on a training stream; gateways treat a silent trainer as lost.",
    )
    stream_idle_seconds: float = Field(
        60, gt=0, description="A call that sends the trainer nothing for this long ends."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is logged; logs go to stderr as JSON."
    )

    @field_validator("detection_sources")
    @classmethod
    def _check_detection_sources(cls, places: str) -> str:
        Sources(places)
        return places

    @property
    def tls(self) -> ServerTls | None:
        """None if connections are not encrypted. Raises SettingsError for a part of what TLS needs."""
        pair = pair_of(
            source("EARMARK_TRAINER_TLS_CERTIFICATE", self.trainer_tls_certificate),
            source("EARMARK_TRAINER_TLS_KEY", self.trainer_tls_key),
        )
        ca = source("EARMARK_TRAINER_TLS_CA", self.trainer_tls_ca)
        if pair is None and ca is not None:
            raise SettingsError(
                "EARMARK_TRAINER_TLS_CA is set without a certificate of the trainer: set "
                "EARMARK_TRAINER_TLS_CERTIFICATE and EARMARK_TRAINER_TLS_KEY, too"
            )
        return None if pair is None else ServerTls(pair, ca)

    @property
    def reflects(self) -> bool:
        """Whether the server describes its rpcs."""
        return is_loopback(self.host) if self.trainer_reflection is None else self.trainer_reflection

    @property
    def object_store_url(self) -> str:
        """The location of the object store: `object_store`, or the default folder below `data_dir`."""
        return self.object_store or str(self.data_dir / "objects")
