"""Converts entries of the audit log to messages, and the filters of its list."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from earmark.gateway.convert.values import timestamp
from earmark.storage.queries.audit_entries import AuditEntry, Filters
from earmark.v1 import admin_service_pb2 as pb


def entry_message(entry: AuditEntry) -> pb.AuditEntry:
    """The entry as the API shows it."""
    return pb.AuditEntry(
        request_id=str(entry.request_id),
        called_at=timestamp(entry.called_at),
        tenant_id=entry.tenant,
        api_key_id=str(entry.api_key_id) if entry.api_key_id else "",
        caller=entry.caller,
        address=entry.address,
        rpc=entry.rpc,
        ids=[pb.AuditedId(name=name, value=value) for name, value in entry.ids],
        code=entry.code,
        reason=entry.reason,
        left_out=entry.left_out,
    )


def filters(request: pb.ListAuditEntriesRequest) -> Filters:
    """The filters of the request."""
    return Filters(
        since=_time(request.since) if request.HasField("since") else None,
        until=_time(request.until) if request.HasField("until") else None,
        tenant=request.tenant_id,
        api_key_id=UUID(request.api_key_id) if request.api_key_id else None,
        rpc=request.rpc,
        code=request.code,
    )


def _time(time: Timestamp) -> datetime:
    return datetime.fromtimestamp(time.seconds, UTC) + timedelta(microseconds=time.nanos // 1000)
