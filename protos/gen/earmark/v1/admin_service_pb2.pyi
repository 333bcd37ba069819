from earmark.v1 import scope_pb2 as _scope_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BackgroundTask(_message.Message):
    __slots__ = ("name", "restarts", "last_error", "failed_at", "keeps_failing")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    FAILED_AT_FIELD_NUMBER: _ClassVar[int]
    KEEPS_FAILING_FIELD_NUMBER: _ClassVar[int]
    name: str
    restarts: int
    last_error: str
    failed_at: _timestamp_pb2.Timestamp
    keeps_failing: bool
    def __init__(self, name: _Optional[str] = ..., restarts: _Optional[int] = ..., last_error: _Optional[str] = ..., failed_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., keeps_failing: bool = ...) -> None: ...

class Trainer(_message.Message):
    __slots__ = ("address", "is_available", "device", "training_slots", "free_training_slots", "audio_slots", "free_audio_slots", "seen_at", "problem", "frontend")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    IS_AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    TRAINING_SLOTS_FIELD_NUMBER: _ClassVar[int]
    FREE_TRAINING_SLOTS_FIELD_NUMBER: _ClassVar[int]
    AUDIO_SLOTS_FIELD_NUMBER: _ClassVar[int]
    FREE_AUDIO_SLOTS_FIELD_NUMBER: _ClassVar[int]
    SEEN_AT_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    FRONTEND_FIELD_NUMBER: _ClassVar[int]
    address: str
    is_available: bool
    device: str
    training_slots: int
    free_training_slots: int
    audio_slots: int
    free_audio_slots: int
    seen_at: _timestamp_pb2.Timestamp
    problem: str
    frontend: str
    def __init__(self, address: _Optional[str] = ..., is_available: bool = ..., device: _Optional[str] = ..., training_slots: _Optional[int] = ..., free_training_slots: _Optional[int] = ..., audio_slots: _Optional[int] = ..., free_audio_slots: _Optional[int] = ..., seen_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., problem: _Optional[str] = ..., frontend: _Optional[str] = ...) -> None: ...

class GetCapacityRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetCapacityResponse(_message.Message):
    __slots__ = ("waiting_jobs", "training_jobs", "training_slots", "free_training_slots", "upload_problem", "outdated_files", "failing_outdated_files", "certificate_problem")
    WAITING_JOBS_FIELD_NUMBER: _ClassVar[int]
    TRAINING_JOBS_FIELD_NUMBER: _ClassVar[int]
    TRAINING_SLOTS_FIELD_NUMBER: _ClassVar[int]
    FREE_TRAINING_SLOTS_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    OUTDATED_FILES_FIELD_NUMBER: _ClassVar[int]
    FAILING_OUTDATED_FILES_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    waiting_jobs: int
    training_jobs: int
    training_slots: int
    free_training_slots: int
    upload_problem: str
    outdated_files: int
    failing_outdated_files: int
    certificate_problem: str
    def __init__(self, waiting_jobs: _Optional[int] = ..., training_jobs: _Optional[int] = ..., training_slots: _Optional[int] = ..., free_training_slots: _Optional[int] = ..., upload_problem: _Optional[str] = ..., outdated_files: _Optional[int] = ..., failing_outdated_files: _Optional[int] = ..., certificate_problem: _Optional[str] = ...) -> None: ...

class ListTrainersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListTrainersResponse(_message.Message):
    __slots__ = ("trainers",)
    TRAINERS_FIELD_NUMBER: _ClassVar[int]
    trainers: _containers.RepeatedCompositeFieldContainer[Trainer]
    def __init__(self, trainers: _Optional[_Iterable[_Union[Trainer, _Mapping]]] = ...) -> None: ...

class ListBackgroundTasksRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListBackgroundTasksResponse(_message.Message):
    __slots__ = ("tasks",)
    TASKS_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[BackgroundTask]
    def __init__(self, tasks: _Optional[_Iterable[_Union[BackgroundTask, _Mapping]]] = ...) -> None: ...

class GetLoadRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetLoadResponse(_message.Message):
    __slots__ = ("largest_lag_ms", "longest_step_ms", "longest_step_rpc", "uploads", "downloads", "detections", "watches", "unfinished_upload_bytes", "max_unfinished_upload_bytes", "long_calls_running", "long_calls_waiting", "audit_entries_waiting", "audit_entries_lost", "refusals_left_out")
    LARGEST_LAG_MS_FIELD_NUMBER: _ClassVar[int]
    LONGEST_STEP_MS_FIELD_NUMBER: _ClassVar[int]
    LONGEST_STEP_RPC_FIELD_NUMBER: _ClassVar[int]
    UPLOADS_FIELD_NUMBER: _ClassVar[int]
    DOWNLOADS_FIELD_NUMBER: _ClassVar[int]
    DETECTIONS_FIELD_NUMBER: _ClassVar[int]
    WATCHES_FIELD_NUMBER: _ClassVar[int]
    UNFINISHED_UPLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_UNFINISHED_UPLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    LONG_CALLS_RUNNING_FIELD_NUMBER: _ClassVar[int]
    LONG_CALLS_WAITING_FIELD_NUMBER: _ClassVar[int]
    AUDIT_ENTRIES_WAITING_FIELD_NUMBER: _ClassVar[int]
    AUDIT_ENTRIES_LOST_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    largest_lag_ms: int
    longest_step_ms: int
    longest_step_rpc: str
    uploads: int
    downloads: int
    detections: int
    watches: int
    unfinished_upload_bytes: int
    max_unfinished_upload_bytes: int
    long_calls_running: int
    long_calls_waiting: int
    audit_entries_waiting: int
    audit_entries_lost: int
    refusals_left_out: int
    def __init__(self, largest_lag_ms: _Optional[int] = ..., longest_step_ms: _Optional[int] = ..., longest_step_rpc: _Optional[str] = ..., uploads: _Optional[int] = ..., downloads: _Optional[int] = ..., detections: _Optional[int] = ..., watches: _Optional[int] = ..., unfinished_upload_bytes: _Optional[int] = ..., max_unfinished_upload_bytes: _Optional[int] = ..., long_calls_running: _Optional[int] = ..., long_calls_waiting: _Optional[int] = ..., audit_entries_waiting: _Optional[int] = ..., audit_entries_lost: _Optional[int] = ..., refusals_left_out: _Optional[int] = ...) -> None: ...

class Tenant(_message.Message):
    __slots__ = ("id", "display_name", "created_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    display_name: str
    created_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., display_name: _Optional[str] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class TenantQuota(_message.Message):
    __slots__ = ("storage_bytes", "audio_seconds", "files", "waiting_training_jobs", "running_training_jobs", "waiting_detection_jobs", "running_detection_jobs", "detection_seconds_per_day", "streams", "requests_per_second")
    STORAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    AUDIO_SECONDS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    WAITING_TRAINING_JOBS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_TRAINING_JOBS_FIELD_NUMBER: _ClassVar[int]
    WAITING_DETECTION_JOBS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_DETECTION_JOBS_FIELD_NUMBER: _ClassVar[int]
    DETECTION_SECONDS_PER_DAY_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    storage_bytes: int
    audio_seconds: int
    files: int
    waiting_training_jobs: int
    running_training_jobs: int
    waiting_detection_jobs: int
    running_detection_jobs: int
    detection_seconds_per_day: int
    streams: int
    requests_per_second: int
    def __init__(self, storage_bytes: _Optional[int] = ..., audio_seconds: _Optional[int] = ..., files: _Optional[int] = ..., waiting_training_jobs: _Optional[int] = ..., running_training_jobs: _Optional[int] = ..., waiting_detection_jobs: _Optional[int] = ..., running_detection_jobs: _Optional[int] = ..., detection_seconds_per_day: _Optional[int] = ..., streams: _Optional[int] = ..., requests_per_second: _Optional[int] = ...) -> None: ...

class TenantLimit(_message.Message):
    __slots__ = ("name", "limit", "used", "is_default")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    name: str
    limit: int
    used: int
    is_default: bool
    def __init__(self, name: _Optional[str] = ..., limit: _Optional[int] = ..., used: _Optional[int] = ..., is_default: bool = ...) -> None: ...

class ApiKey(_message.Message):
    __slots__ = ("id", "tenant_id", "name", "prefix", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_USED_AT_FIELD_NUMBER: _ClassVar[int]
    REVOKED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    tenant_id: str
    name: str
    prefix: str
    scopes: _containers.RepeatedScalarFieldContainer[_scope_pb2.Scope]
    created_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    last_used_at: _timestamp_pb2.Timestamp
    revoked_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., tenant_id: _Optional[str] = ..., name: _Optional[str] = ..., prefix: _Optional[str] = ..., scopes: _Optional[_Iterable[_Union[_scope_pb2.Scope, str]]] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_used_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., revoked_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreateTenantRequest(_message.Message):
    __slots__ = ("tenant_id", "display_name")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    display_name: str
    def __init__(self, tenant_id: _Optional[str] = ..., display_name: _Optional[str] = ...) -> None: ...

class CreateTenantResponse(_message.Message):
    __slots__ = ("tenant",)
    TENANT_FIELD_NUMBER: _ClassVar[int]
    tenant: Tenant
    def __init__(self, tenant: _Optional[_Union[Tenant, _Mapping]] = ...) -> None: ...

class ListTenantsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTenantsResponse(_message.Message):
    __slots__ = ("tenants", "next_page_token")
    TENANTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    tenants: _containers.RepeatedCompositeFieldContainer[Tenant]
    next_page_token: str
    def __init__(self, tenants: _Optional[_Iterable[_Union[Tenant, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class SetTenantQuotaRequest(_message.Message):
    __slots__ = ("tenant_id", "quota", "update_mask")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    quota: TenantQuota
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, tenant_id: _Optional[str] = ..., quota: _Optional[_Union[TenantQuota, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class SetTenantQuotaResponse(_message.Message):
    __slots__ = ("quota",)
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    quota: TenantQuota
    def __init__(self, quota: _Optional[_Union[TenantQuota, _Mapping]] = ...) -> None: ...

class GetTenantUsageRequest(_message.Message):
    __slots__ = ("tenant_id",)
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    def __init__(self, tenant_id: _Optional[str] = ...) -> None: ...

class GetTenantUsageResponse(_message.Message):
    __slots__ = ("limits",)
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    limits: _containers.RepeatedCompositeFieldContainer[TenantLimit]
    def __init__(self, limits: _Optional[_Iterable[_Union[TenantLimit, _Mapping]]] = ...) -> None: ...

class CreateApiKeyRequest(_message.Message):
    __slots__ = ("tenant_id", "name", "scopes", "valid_for")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    VALID_FOR_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    name: str
    scopes: _containers.RepeatedScalarFieldContainer[_scope_pb2.Scope]
    valid_for: _duration_pb2.Duration
    def __init__(self, tenant_id: _Optional[str] = ..., name: _Optional[str] = ..., scopes: _Optional[_Iterable[_Union[_scope_pb2.Scope, str]]] = ..., valid_for: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class CreateApiKeyResponse(_message.Message):
    __slots__ = ("api_key", "secret")
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    api_key: ApiKey
    secret: str
    def __init__(self, api_key: _Optional[_Union[ApiKey, _Mapping]] = ..., secret: _Optional[str] = ...) -> None: ...

class GetApiKeyRequest(_message.Message):
    __slots__ = ("api_key_id",)
    API_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    api_key_id: str
    def __init__(self, api_key_id: _Optional[str] = ...) -> None: ...

class GetApiKeyResponse(_message.Message):
    __slots__ = ("api_key",)
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    api_key: ApiKey
    def __init__(self, api_key: _Optional[_Union[ApiKey, _Mapping]] = ...) -> None: ...

class ListApiKeysRequest(_message.Message):
    __slots__ = ("tenant_id", "page_size", "page_token")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    page_size: int
    page_token: str
    def __init__(self, tenant_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListApiKeysResponse(_message.Message):
    __slots__ = ("api_keys", "next_page_token")
    API_KEYS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    api_keys: _containers.RepeatedCompositeFieldContainer[ApiKey]
    next_page_token: str
    def __init__(self, api_keys: _Optional[_Iterable[_Union[ApiKey, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RotateApiKeyRequest(_message.Message):
    __slots__ = ("api_key_id", "overlap", "valid_for")
    API_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    VALID_FOR_FIELD_NUMBER: _ClassVar[int]
    api_key_id: str
    overlap: _duration_pb2.Duration
    valid_for: _duration_pb2.Duration
    def __init__(self, api_key_id: _Optional[str] = ..., overlap: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., valid_for: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class RotateApiKeyResponse(_message.Message):
    __slots__ = ("api_key", "secret", "old_api_key")
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    OLD_API_KEY_FIELD_NUMBER: _ClassVar[int]
    api_key: ApiKey
    secret: str
    old_api_key: ApiKey
    def __init__(self, api_key: _Optional[_Union[ApiKey, _Mapping]] = ..., secret: _Optional[str] = ..., old_api_key: _Optional[_Union[ApiKey, _Mapping]] = ...) -> None: ...

class RevokeApiKeyRequest(_message.Message):
    __slots__ = ("api_key_id",)
    API_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    api_key_id: str
    def __init__(self, api_key_id: _Optional[str] = ...) -> None: ...

class RevokeApiKeyResponse(_message.Message):
    __slots__ = ("api_key",)
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    api_key: ApiKey
    def __init__(self, api_key: _Optional[_Union[ApiKey, _Mapping]] = ...) -> None: ...

class AuditEntry(_message.Message):
    __slots__ = ("request_id", "called_at", "tenant_id", "api_key_id", "caller", "address", "rpc", "ids", "code", "reason", "left_out")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CALLED_AT_FIELD_NUMBER: _ClassVar[int]
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    API_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    RPC_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    called_at: _timestamp_pb2.Timestamp
    tenant_id: str
    api_key_id: str
    caller: str
    address: str
    rpc: str
    ids: _containers.RepeatedCompositeFieldContainer[AuditedId]
    code: str
    reason: str
    left_out: int
    def __init__(self, request_id: _Optional[str] = ..., called_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., tenant_id: _Optional[str] = ..., api_key_id: _Optional[str] = ..., caller: _Optional[str] = ..., address: _Optional[str] = ..., rpc: _Optional[str] = ..., ids: _Optional[_Iterable[_Union[AuditedId, _Mapping]]] = ..., code: _Optional[str] = ..., reason: _Optional[str] = ..., left_out: _Optional[int] = ...) -> None: ...

class AuditedId(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class ListAuditEntriesRequest(_message.Message):
    __slots__ = ("tenant_id", "api_key_id", "rpc", "code", "since", "until", "page_size", "page_token")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    API_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    RPC_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    api_key_id: str
    rpc: str
    code: str
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    def __init__(self, tenant_id: _Optional[str] = ..., api_key_id: _Optional[str] = ..., rpc: _Optional[str] = ..., code: _Optional[str] = ..., since: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAuditEntriesResponse(_message.Message):
    __slots__ = ("entries", "next_page_token")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[AuditEntry]
    next_page_token: str
    def __init__(self, entries: _Optional[_Iterable[_Union[AuditEntry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
