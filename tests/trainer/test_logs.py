import json

import structlog

from earmark.trainer.logs import configure_logging


def crash(secret):
    raise ValueError(len(secret))


def test_a_traceback_has_no_values_of_variables(capsys):
    before = structlog.get_config()
    configure_logging("info")
    try:
        crash("hunter2")
    except ValueError:
        structlog.get_logger().exception("it failed")
    finally:
        structlog.configure(**before)
    line = capsys.readouterr().err
    assert json.loads(line)["exception"][0]["exc_value"] == "7"
    assert "hunter2" not in line
