"""Who calls the gateway: keys of two tenants, one without most scopes, and callers without a key."""

from dataclasses import dataclass
from typing import cast

from grpc import aio

from earmark.client.aio.channel import WithMetadata
from earmark.v1 import admin_service_pb2 as admin
from earmark.v1.admin_service_pb2_grpc import AdminServiceStub
from earmark.v1.scope_pb2 import Scope

# Who makes a call of the gateway, and how often.
CALLERS = {"own": 40, "reader": 2, "stranger": 4, "nobody": 1, "none": 1}
OWN, OTHER, BYSTANDERS = "default", "strangers", "bystanders"
EVERY_SCOPE = [scope for scope in Scope.values() if scope != Scope.SCOPE_UNSPECIFIED]
OF_NOBODY = f"em_{'a' * 8}_{'b' * 43}"


@dataclass(frozen=True)
class Callers:
    """The keys by caller, and the ids and tenants that no call may name, so that they stay what they are."""

    secrets: dict[str, str]
    bystander: str
    spared: frozenset[str]

    def metadata(self, caller: str) -> tuple[tuple[str, str], ...]:
        """What a call of this caller has in its metadata."""
        secret = self.secrets.get(caller)
        return () if secret is None else (("authorization", f"Bearer {secret}"),)

    def channel(self, channel: aio.Channel, secret: str) -> aio.Channel:
        """The channel with a key."""
        return cast("aio.Channel", WithMetadata(channel, (("x-api-key", secret),)))


async def make_callers(channel: aio.Channel) -> Callers:
    """Makes the first keys of an installation, and its tenants."""
    stub, spared = AdminServiceStub(channel), {OWN, BYSTANDERS}

    async def key(tenant: str, name: str, scopes: list[int]) -> str:
        request = admin.CreateApiKeyRequest(tenant_id=tenant, name=name, scopes=scopes)
        created = await stub.CreateApiKey(request)
        spared.add(created.api_key.id)
        return created.secret

    for tenant in (OTHER, BYSTANDERS):
        await stub.CreateTenant(admin.CreateTenantRequest(tenant_id=tenant))
    # From the first key on, calls need one.
    own = await key(OWN, "own", EVERY_SCOPE)
    stub = AdminServiceStub(cast("aio.Channel", WithMetadata(channel, (("x-api-key", own),))))
    others = [scope for scope in EVERY_SCOPE if scope != Scope.SCOPE_ADMIN]
    secrets = {
        "own": own,
        "reader": await key(OWN, "reader", [Scope.SCOPE_READ]),
        "stranger": await key(OTHER, "stranger", others),
        "nobody": OF_NOBODY,
    }
    return Callers(secrets, await key(BYSTANDERS, "bystander", others), frozenset(spared))
