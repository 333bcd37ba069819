"""The rpcs of earmark.v1.AdminService about what tenants may use."""

from dataclasses import asdict
from typing import Any

from earmark.gateway.convert.quotas import LIMITS, changed_quota, limit_messages, quota_message
from earmark.gateway.errors import NotFoundError
from earmark.gateway.field_masks import masked_paths
from earmark.gateway.services.keys import KeyService
from earmark.storage.queries import api_keys, quotas
from earmark.v1 import admin_service_pb2 as pb


class TenantService(KeyService):
    """Sets and shows what tenants may use."""

    async def SetTenantQuota(self, request: pb.SetTenantQuotaRequest, _: Any) -> pb.SetTenantQuotaResponse:
        paths = masked_paths(request.update_mask, LIMITS)
        async with self._app.system.transaction() as connection:
            if not await quotas.lock_tenant(connection, request.tenant_id):
                raise NotFoundError("tenant", request.tenant_id)
            own = changed_quota(await quotas.get(connection, request.tenant_id), request.quota, paths)
            await quotas.store(connection, request.tenant_id, own)
        # In this gateway at once, and in the others 10 ms later.
        self._app.quotas.announce()
        await self._app.quotas.refresh()
        return pb.SetTenantQuotaResponse(quota=quota_message(own))

    async def GetTenantUsage(self, request: pb.GetTenantUsageRequest, _: Any) -> pb.GetTenantUsageResponse:
        name, limits = request.tenant_id, self._app.quotas
        async with self._app.system.connection() as connection:
            if not await api_keys.tenant_exists(connection, name):
                raise NotFoundError("tenant", name)
            own = await quotas.get(connection, name)
            stored = await quotas.stored(connection, name)
            jobs = await quotas.unfinished_jobs(connection, name)
        used = asdict(jobs) | {
            "storage_bytes": stored.bytes,
            "audio_seconds": stored.audio_ms // 1000,
            "files": stored.files,
            "detection_seconds_per_day": limits.searched_seconds(name),
            "streams": self._app.shares.streams(name),
            "requests_per_second": limits.requests(name),
        }
        return pb.GetTenantUsageResponse(limits=limit_messages(limits.defaults.with_own(own), own, used))
