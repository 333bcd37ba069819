"""The training process, whose device fails in the step before the first job."""

from earmark.trainer.learning import precompile
from earmark.trainer.workers.training import serve  # noqa: F401  what the process runs
from tests.trainer.service.failing_device import failing

precompile.run_steps = failing(precompile.run_steps)
