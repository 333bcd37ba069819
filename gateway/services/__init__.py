"""One servicer per service of earmark.v1: convert, check, one storage call, convert back."""

from earmark.v1 import dataset_service_pb2, dataset_service_pb2_grpc
from grpc import aio

from gateway.app import App
from gateway.services.datasets import DatasetService


def register(app: App, server: aio.Server) -> list[str]:
    """Adds every service of ours to the server; their full names."""
    dataset_service_pb2_grpc.add_DatasetServiceServicer_to_server(DatasetService(app), server)
    files = (dataset_service_pb2,)
    return [service.full_name for file in files for service in file.DESCRIPTOR.services_by_name.values()]
