"""The gateway's settings: EARMARK_* in the environment, or flags of the same names."""

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.fleet.addresses import parse


class GatewaySettings(BaseSettings):
    """GatewaySettings of `python -m gateway`, each also a flag: EARMARK_PORT is --port."""

    model_config = SettingsConfigDict(
        env_prefix="EARMARK_", cli_parse_args=False, cli_kebab_case=True, cli_prog_name="python -m gateway"
    )

    host: str = Field(
        "127.0.0.1", description="Address to listen on; there are no keys yet: keep it private."
    )
    port: int = Field(50051, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    data_dir: Path = Field(
        Path("earmark-data"), description="Folder of the embedded PostgreSQL and of the objects."
    )
    database_url: str | None = Field(
        None, description="postgresql://… of any PostgreSQL from 14 on; the embedded one where left out."
    )
    database_pool_size: int = Field(10, ge=2, description="Connections to PostgreSQL.")
    object_store: str | None = Field(
        None, description="Folder, s3://, gs:// or az:// of the objects; DATA_DIR/objects where left out."
    )
    trainers: str = Field(
        "127.0.0.1:50052",
        description="Trainers, separated by commas: host:port, or dns:///name:port for all behind a name.",
    )
    lease_seconds: float = Field(
        20, gt=0, description="A job whose gateway is silent for this long is taken over by another."
    )
    trainer_silence_seconds: float = Field(
        15, gt=0, description="A trainer that sends nothing for this long is taken for lost."
    )
    max_attempts: int = Field(
        3, ge=1, description="Trainers a job may lose in a row, without a new checkpoint, before it fails."
    )
    retry_seconds: float = Field(
        1, ge=0, description="Pause after two losses in a row; five times longer after each more, up to 60 s."
    )
    max_waiting_jobs: int = Field(
        1000, ge=0, description="Jobs of a tenant that may wait for a trainer; 0 for any number."
    )
    max_training_jobs: int = Field(
        0, ge=0, description="Jobs of a tenant that train at a time; 0 for any number."
    )
    heartbeat_seconds: float = Field(10, gt=0, description="Between two messages of an idle watch.")
    event_retention_days: float = Field(
        90, gt=0, le=36500, description="Of jobs finished longer ago, all events but the last are removed."
    )
    stop_grace_seconds: float = Field(5, ge=0, description="What running calls get when the gateway stops.")

    @field_validator("trainers")
    @classmethod
    def _lead_to_trainers(cls, trainers: str) -> str:
        for entry in _split(trainers):
            parse(entry)
        return trainers

    @property
    def object_store_url(self) -> str:
        """Where the objects are."""
        return self.object_store or str(self.data_dir / "objects")

    @property
    def trainer_addresses(self) -> list[str]:
        """`trainers`, split."""
        return _split(self.trainers)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
