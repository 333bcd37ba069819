"""The detection process, whose device fails when it scores a recording or the files of a job."""

from earmark.trainer.scoring import detection
from earmark.trainer.workers import file_scorer
from earmark.trainer.workers.detection import serve  # noqa: F401  what the process runs
from tests.trainer.service.failing_device import failing

detection.detect = failing(detection.detect)
file_scorer.scores_of_files = failing(file_scorer.scores_of_files)
