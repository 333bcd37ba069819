"""A gateway with tenants, each with a key, a dataset and a job."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass

from grpc import aio

from bench.load.rows import insert_dataset, insert_job
from bench.load.system import system
from bench.load.trainer import IdleTrainer, serving
from earmark.v1 import admin_service_pb2 as pb
from earmark.v1.admin_service_pb2_grpc import AdminServiceStub
from earmark.v1.scope_pb2 import Scope

FILES, ANNOTATIONS = 30, 10
SCOPES = [Scope.SCOPE_READ, Scope.SCOPE_WRITE, Scope.SCOPE_TRAIN]


@dataclass(frozen=True, slots=True)
class Tenant:
    """What the calls of a tenant need."""

    key: str
    dataset_id: str
    set_id: str
    job_id: str

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of its calls."""
        return (("authorization", f"Bearer {self.key}"),)

    def arguments(self) -> tuple[str, ...]:
        """The fields, for a command line."""
        found: tuple[str, ...] = astuple(self)
        return found


@asynccontextmanager
async def running(count: int) -> AsyncIterator[tuple[str, list[Tenant]]]:
    """Starts a gateway with an idle trainer. Yields its address, and so many tenants."""
    async with serving(IdleTrainer()) as trainer, system(EARMARK_TRAINERS=trainer) as started:
        address, tenants = started.gateway.address, []
        async with aio.insecure_channel(address) as channel:
            admin = AdminServiceStub(channel)
            request = pb.CreateApiKeyRequest(tenant_id="default", name="admin", scopes=[Scope.SCOPE_ADMIN])
            key = (await admin.CreateApiKey(request)).secret
            metadata = (("authorization", f"Bearer {key}"),)
            for number in range(count):
                tenant_id = f"tenant-{number}"
                await admin.CreateTenant(pb.CreateTenantRequest(tenant_id=tenant_id), metadata=metadata)
                wanted = pb.CreateApiKeyRequest(tenant_id=tenant_id, name="bench", scopes=SCOPES)
                made = await admin.CreateApiKey(wanted, metadata=metadata)
                async with started.database.transaction() as connection:
                    dataset = await insert_dataset(
                        connection, files=FILES, annotations_per_file=ANNOTATIONS, tenant=tenant_id
                    )
                    job_id = await insert_job(connection, dataset, tenant=tenant_id)
                ids = (dataset.id, dataset.annotation_set_id, job_id)
                tenants.append(Tenant(made.secret, *map(str, ids)))
        async with started.database.connection() as connection:
            await connection.execute("VACUUM ANALYZE")
        yield address, tenants
