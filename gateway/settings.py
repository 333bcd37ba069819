"""The gateway's settings: EARMARK_* in the environment, or flags of the same names."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of `python -m gateway`, each also a flag: EARMARK_PORT is --port."""

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
        "127.0.0.1:50052", description="Addresses of the trainers, host:port, separated by commas."
    )
    lease_seconds: float = Field(
        20, gt=0, description="A job whose gateway is silent for this long is taken over by another."
    )
    trainer_silence_seconds: float = Field(
        15, gt=0, description="A trainer that sends nothing for this long is taken for lost."
    )
    max_attempts: int = Field(3, ge=1, description="Trainers a job may lose before it fails.")
    heartbeat_seconds: float = Field(10, gt=0, description="Between two messages of an idle watch.")
    stop_grace_seconds: float = Field(5, ge=0, description="What running calls get when the gateway stops.")

    @property
    def object_store_url(self) -> str:
        """Where the objects are."""
        return self.object_store or str(self.data_dir / "objects")

    @property
    def trainer_addresses(self) -> list[str]:
        """`trainers`, split."""
        return [address.strip() for address in self.trainers.split(",") if address.strip()]
