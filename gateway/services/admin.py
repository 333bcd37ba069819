"""earmark.v1.AdminService."""

from typing import Any

from earmark.gateway.convert.background import task_message
from earmark.gateway.convert.trainers import trainer_message
from earmark.gateway.services.audit import AuditService
from earmark.gateway.services.tenants import TenantService
from earmark.storage.queries import audio, training
from earmark.v1 import admin_service_pb2 as pb


class AdminService(TenantService, AuditService):
    """Shows those who run Earmark its machines, and how much work there is for them."""

    async def GetCapacity(self, _request: pb.GetCapacityRequest, _: Any) -> pb.GetCapacityResponse:
        async with self._app.system.connection() as connection:
            counts = await training.JOBS.counts(connection)
            frontend = self._app.trainers.frontend()
            outdated = None if frontend is None else await audio.outdated(connection, frontend)
        slots, certificate = self._app.trainers.slots(), self._app.certificate
        return pb.GetCapacityResponse(
            waiting_jobs=counts.waiting,
            training_jobs=counts.running,
            training_slots=slots.total,
            free_training_slots=slots.free,
            upload_problem=self._app.disk.problem,
            outdated_files=outdated.files if outdated else 0,
            failing_outdated_files=outdated.failing if outdated else 0,
            certificate_problem=certificate.problem if certificate else "",
        )

    async def ListTrainers(self, _request: pb.ListTrainersRequest, _: Any) -> pb.ListTrainersResponse:
        return pb.ListTrainersResponse(trainers=map(trainer_message, self._app.trainers.states()))

    async def ListBackgroundTasks(
        self, _request: pb.ListBackgroundTasksRequest, _: Any
    ) -> pb.ListBackgroundTasksResponse:
        return pb.ListBackgroundTasksResponse(tasks=map(task_message, self._app.background.states()))

    async def GetLoad(self, _request: pb.GetLoadRequest, _: Any) -> pb.GetLoadResponse:
        watch = self._app.loop_watch
        longest, totals = watch.calls.longest(), self._app.shares.totals
        return pb.GetLoadResponse(
            largest_lag_ms=_milliseconds(watch.lags.longest().seconds),
            longest_step_ms=_milliseconds(longest.seconds),
            longest_step_rpc=longest.name,
            uploads=totals["uploads"],
            downloads=totals["downloads"],
            detections=totals["detections"],
            watches=totals["watches"],
            unfinished_upload_bytes=self._app.scratch.used,
            max_unfinished_upload_bytes=self._app.scratch.limit,
            long_calls_running=self._app.lane.queue.running,
            long_calls_waiting=self._app.lane.queue.waiting,
            audit_entries_waiting=self._app.audit.waiting,
            audit_entries_lost=self._app.audit.lost,
            refusals_left_out=self._app.audit.refusals.left_out,
        )


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)
