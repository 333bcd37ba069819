"""A device that fails: once with each line of the file that DEVICE_ERRORS names."""

import os
from pathlib import Path

from jax.errors import JaxRuntimeError

DEVICE_ERRORS = "JAX_TEST_DEVICE_ERRORS"  # a name that the processes with JAX get


def failing(function):
    """Returns the function, which raises the errors of the file first."""

    def call(*arguments):
        file = Path(os.environ[DEVICE_ERRORS])
        first, _, rest = file.read_text().partition("\n")
        if first:
            file.write_text(rest)
            raise JaxRuntimeError(first)
        return function(*arguments)

    return call
