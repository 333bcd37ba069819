"""One servicer per service of earmark.v1. Handlers convert, check, call storage once and convert back."""

from grpc import aio

from earmark.gateway.app import App
from earmark.gateway.services.admin import AdminService
from earmark.gateway.services.annotations import AnnotationService
from earmark.gateway.services.audio import AudioService
from earmark.gateway.services.datasets import DatasetService
from earmark.gateway.services.detection import DetectionService
from earmark.gateway.services.models import ModelService
from earmark.gateway.services.training import TrainingService
from earmark.gateway.watching.tenant_log import TenantLogs
from earmark.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    annotation_service_pb2,
    annotation_service_pb2_grpc,
    audio_service_pb2,
    audio_service_pb2_grpc,
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    detection_service_pb2,
    detection_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
    training_service_pb2,
    training_service_pb2_grpc,
)


def register(app: App, server: aio.Server) -> list[str]:
    """Adds every service of earmark.v1 to the server and returns their full names."""
    logs = TenantLogs(app)
    dataset_service_pb2_grpc.add_DatasetServiceServicer_to_server(DatasetService(app), server)
    audio_service_pb2_grpc.add_AudioServiceServicer_to_server(AudioService(app, logs), server)
    annotation_service_pb2_grpc.add_AnnotationServiceServicer_to_server(AnnotationService(app), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(app), server)
    detection_service_pb2_grpc.add_DetectionServiceServicer_to_server(DetectionService(app, logs), server)
    training_service_pb2_grpc.add_TrainingServiceServicer_to_server(TrainingService(app, logs), server)
    admin_service_pb2_grpc.add_AdminServiceServicer_to_server(AdminService(app), server)
    files = (
        dataset_service_pb2,
        audio_service_pb2,
        annotation_service_pb2,
        model_service_pb2,
        detection_service_pb2,
        training_service_pb2,
        admin_service_pb2,
    )
    return [service.full_name for file in files for service in file.DESCRIPTOR.services_by_name.values()]
