"""Explanations of errors: they contain every detail that the gateway sends, and so does their text."""

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2 as details

from earmark.client import Explanation, FieldViolation, PreconditionViolation, explain
from earmark.v1 import dataset_service_pb2 as datasets
from earmark.v1 import dataset_service_pb2_grpc
from tests.client.small_gateway import Serve, refuse


def refused(serve: Serve, *arguments: Any, **facts: str) -> Explanation:
    class Refusing(dataset_service_pb2_grpc.DatasetServiceServicer):
        def GetDataset(self, _request: Any, context: grpc.ServicerContext) -> None:
            refuse(context, *arguments, **facts)

    with pytest.raises(grpc.RpcError) as caught:
        serve(Refusing()).datasets.GetDataset(datasets.GetDatasetRequest())
    return explain(caught.value)


def test_prerequisites_are_all_named(serve: Serve) -> None:
    failure = details.PreconditionFailure()
    failure.violations.add(
        type="ANNOTATION_SET_PUBLISHED", subject="annotation_sets/7", description="publish it"
    )
    failure.violations.add(type="AUDIO_DURATION", subject="datasets/1", description="2 minutes are missing")

    explanation = refused(
        serve, "FAILED_PRECONDITION", "2 prerequisites are not met", "PREREQUISITES_NOT_MET", failure
    )

    assert (explanation.code, explanation.reason) == ("FAILED_PRECONDITION", "PREREQUISITES_NOT_MET")
    assert explanation.preconditions[0] == PreconditionViolation(
        "ANNOTATION_SET_PUBLISHED", "annotation_sets/7", "publish it"
    )
    assert str(explanation) == (
        "FAILED_PRECONDITION (PREREQUISITES_NOT_MET): 2 prerequisites are not met\n"
        "  - ANNOTATION_SET_PUBLISHED: publish it\n"
        "  - AUDIO_DURATION: 2 minutes are missing"
    )


def test_a_message_that_repeats_the_violations_is_left_out(serve: Serve) -> None:
    failure = details.PreconditionFailure()
    failure.violations.add(type="AUDIO_READY", description="1 of 2 files failed")
    failure.violations.add(type="AUDIO_DURATION", description="2 minutes are missing")

    explanation = refused(
        serve,
        "FAILED_PRECONDITION",
        "1 of 2 files failed; 2 minutes are missing",
        "PREREQUISITES_NOT_MET",
        failure,
    )

    assert str(explanation).splitlines() == [
        "FAILED_PRECONDITION (PREREQUISITES_NOT_MET):",
        "  - AUDIO_READY: 1 of 2 files failed",
        "  - AUDIO_DURATION: 2 minutes are missing",
    ]


def test_fields_are_all_named(serve: Serve) -> None:
    bad = details.BadRequest()
    bad.field_violations.add(field="config.epochs", description="must be at most 100")

    explanation = refused(serve, "INVALID_ARGUMENT", "1 field is wrong", "INVALID_FIELD", bad)

    assert explanation.fields == (FieldViolation("config.epochs", "must be at most 100"),)
    assert "  - config.epochs: must be at most 100" in str(explanation)


def test_metadata_resource_and_retry(serve: Serve) -> None:
    retry = details.RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)
    resource = details.ResourceInfo(resource_type="dataset", resource_name="42")

    explanation = refused(
        serve, "ABORTED", "it was changed", "STALE_ETAG", retry, resource, current_etag="e7"
    )

    assert explanation.metadata == {"current_etag": "e7"}
    assert explanation.retry_after == 1.5
    assert str(explanation).splitlines()[1:] == [
        "  resource: dataset 42",
        "  current_etag: e7",
        "  try again in 1.5 s",
    ]


def test_an_error_without_details(serve: Serve) -> None:
    explanation = refused(serve, "INTERNAL", "boom")

    assert explanation == Explanation(code="INTERNAL", message="boom")
    assert str(explanation) == "INTERNAL: boom"


def test_details_of_another_status_are_ignored(serve: Serve) -> None:
    class Rewritten(dataset_service_pb2_grpc.DatasetServiceServicer):
        def GetDataset(self, _request: Any, context: grpc.ServicerContext) -> None:
            context.set_trailing_metadata([("grpc-status-details-bin", b"\x08\x05\x12\x01x")])
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "the proxy says no")

    with pytest.raises(grpc.RpcError) as caught:
        serve(Rewritten()).datasets.GetDataset(datasets.GetDatasetRequest())

    assert explain(caught.value) == Explanation(code="PERMISSION_DENIED", message="the proxy says no")


def test_the_calls_id_in_the_gateways_log(serve: Serve) -> None:
    class Refusing(dataset_service_pb2_grpc.DatasetServiceServicer):
        def GetDataset(self, _request: Any, context: grpc.ServicerContext) -> None:
            context.set_trailing_metadata([("x-request-id", "01a21b64")])
            context.abort(grpc.StatusCode.INTERNAL, "boom")

    with pytest.raises(grpc.RpcError) as caught:
        serve(Refusing()).datasets.GetDataset(datasets.GetDatasetRequest())

    assert explain(caught.value) == Explanation(code="INTERNAL", message="boom", request_id="01a21b64")


async def test_an_error_of_grpc_aio(serve: Serve) -> None:
    class Refusing(dataset_service_pb2_grpc.DatasetServiceServicer):
        def GetDataset(self, _request: Any, context: grpc.ServicerContext) -> None:
            refuse(context, "NOT_FOUND", "no such dataset", "DATASET_NOT_FOUND", dataset_id="42")

    async with grpc.aio.insecure_channel(serve(Refusing()).gateway.address) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            await dataset_service_pb2_grpc.DatasetServiceStub(channel).GetDataset(
                datasets.GetDatasetRequest()
            )

    assert explain(caught.value) == Explanation(
        code="NOT_FOUND",
        message="no such dataset",
        reason="DATASET_NOT_FOUND",
        metadata={"dataset_id": "42"},
    )


def test_an_error_without_a_call() -> None:
    assert explain(grpc.RpcError("cut")) == Explanation(code="UNKNOWN", message="cut")
