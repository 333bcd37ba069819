"""The rpc of earmark.v1.AdminService about the audit log."""

from functools import partial
from typing import Any

from earmark.gateway.app import App
from earmark.gateway.convert.audit import entry_message, filters
from earmark.gateway.paging import PageRequest
from earmark.storage.queries import audit_entries
from earmark.v1 import admin_service_pb2 as pb
from earmark.v1 import admin_service_pb2_grpc


class AuditService(admin_service_pb2_grpc.AdminServiceServicer):
    """Shows the audit log of all tenants."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, _: Any
    ) -> pb.ListAuditEntriesResponse:
        page_request = PageRequest.by_time(request)
        async with self._app.system.connection() as connection:
            read = partial(audit_entries.page, connection, filters(request))
            page = await page_request.page(read, entry_message, lambda entry: (entry.called_at, entry.id))
        return pb.ListAuditEntriesResponse(entries=page.messages, next_page_token=page.next_page_token)
