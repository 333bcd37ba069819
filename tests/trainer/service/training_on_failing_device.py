"""The training process, whose device fails in a step of a job."""

from earmark.trainer.learning import epochs
from earmark.trainer.workers.training import serve  # noqa: F401  what the process runs
from tests.trainer.service.failing_device import failing

epochs.run_steps = failing(epochs.run_steps)
