"""A client with stubs that grpcio-tools made from the archive: `python client.py ADDRESS JOB`.

Prints a report as JSON, then the revision of each event of the job.
"""

import json
import sys
import time
import uuid

import grpc
from google.rpc import error_details_pb2, status_pb2

from earmark.v1 import (
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    training_service_pb2,
    training_service_pb2_grpc,
)

address, job_id = sys.argv[1:]
channel = grpc.insecure_channel(
    address, options=[("grpc.keepalive_time_ms", 30_000), ("grpc.keepalive_timeout_ms", 10_000)]
)
datasets = dataset_service_pb2_grpc.DatasetServiceStub(channel)
training = training_service_pb2_grpc.TrainingServiceStub(channel)

request = dataset_service_pb2.CreateDatasetRequest(
    name="Calls", artifact_types=[{"name": "echo"}], request_id=str(uuid.uuid4())
)
dataset = datasets.CreateDataset(request, timeout=10).dataset


def error_details(error):
    """The reason of an error, and each invalid field of the request with what is wrong with it."""
    packed = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status_pb2.Status.FromString(packed).details:
        detail.Unpack(info) or detail.Unpack(bad)
    return info.reason, {violation.field: violation.description for violation in bad.field_violations}


try:
    datasets.CreateDataset(dataset_service_pb2.CreateDatasetRequest(name=""), timeout=10)
except grpc.RpcError as error:
    reason, fields = error_details(error)

FINAL = {
    training_service_pb2.TRAINING_JOB_STATUS_COMPLETED,
    training_service_pb2.TRAINING_JOB_STATUS_FAILED,
    training_service_pb2.TRAINING_JOB_STATUS_CANCELLED,
}


def watch_job(job_id, revision=0):
    """Yield a job's events up to its last one. Opens a stream that broke again, after the last revision."""
    while True:
        request = training_service_pb2.WatchTrainingJobRequest(
            training_job_id=job_id, after_revision=revision
        )
        try:
            for response in training.WatchTrainingJob(request):
                if not response.HasField("event"):
                    continue  # a heartbeat
                revision = response.event.revision
                yield response.event
                if response.event.status_changed.to in FINAL:
                    return
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
        time.sleep(1)


sys.stdout.write(json.dumps({"dataset": dataset.name, "reason": reason, "fields": fields}) + "\n")
for event in watch_job(job_id):
    sys.stdout.write(f"{event.revision}\n")
    sys.stdout.flush()
