"""The process that decodes, on a machine whose system calls are not known to it."""

import platform

from earmark.trainer.workers.audio import serve  # noqa: F401  what the process runs

platform.machine = lambda: "riscv64"
