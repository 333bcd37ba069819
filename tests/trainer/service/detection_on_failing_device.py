"""The detection process, whose device fails when it scores a recording."""

from earmark.trainer.workers import detection
from earmark.trainer.workers.detection import serve  # noqa: F401  what the process runs
from tests.trainer.service.failing_device import failing

detection.detect = failing(detection.detect)
