"""Converts what tenants may use, and do use, to messages and back."""

from collections.abc import Collection, Mapping
from dataclasses import fields, replace

from earmark.gateway.quotas import Limits
from earmark.storage.records import Quota
from earmark.v1 import admin_service_pb2 as pb

LIMITS = tuple(field.name for field in fields(Quota))


def quota_message(quota: Quota) -> pb.TenantQuota:
    """The quota as the API shows it: what is None is unset."""
    message = pb.TenantQuota()
    for name in LIMITS:
        if (limit := getattr(quota, name)) is not None:
            setattr(message, name, limit)
    return message


def changed_quota(quota: Quota, message: pb.TenantQuota, paths: Collection[str]) -> Quota:
    """The quota with the message's values of these fields; one that is unset there becomes None."""
    new = {name: getattr(message, name) if message.HasField(name) else None for name in LIMITS}
    return replace(quota, **{name: new[name] for name in paths})


def limit_messages(limits: Limits, own: Quota, used: Mapping[str, int]) -> list[pb.TenantLimit]:
    """Every limit beside its use."""
    return [
        pb.TenantLimit(
            name=name,
            limit=getattr(limits, name),
            used=used[name],
            is_default=getattr(own, name) is None,
        )
        for name in LIMITS
    ]
