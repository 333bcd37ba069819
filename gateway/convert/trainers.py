"""Converts trainers' states to messages."""

from earmark.gateway.convert.values import timestamp
from earmark.gateway.fleet.trainers import TrainerState
from earmark.v1 import admin_service_pb2 as pb


def trainer_message(state: TrainerState) -> pb.Trainer:
    """The trainer as AdminService shows it."""
    capacity = state.capacity
    return pb.Trainer(
        address=state.address,
        is_available=state.is_available,
        device=capacity.device,
        training_slots=capacity.training_slots,
        free_training_slots=capacity.free_training_slots,
        audio_slots=capacity.audio_slots,
        free_audio_slots=capacity.free_audio_slots,
        seen_at=timestamp(state.seen_at),
        problem=state.problem,
        frontend=capacity.frontend,
    )
