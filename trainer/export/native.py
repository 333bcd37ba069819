"""The native form: the stored files of a model in a zip archive. docs/export.md describes them."""

import io
import zipfile

from earmark.trainer.model import ModelFiles

WEIGHTS_NAME, CONFIG_NAME = "model.safetensors", "model.json"
# zip has no time before; the archive of a model is always the same.
NO_TIME = (1980, 1, 1, 0, 0, 0)


def archive(files: ModelFiles) -> bytes:
    """Return the archive. It is not compressed: the stored bytes are in it as they are."""
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w") as archived:
        archived.writestr(zipfile.ZipInfo(WEIGHTS_NAME, NO_TIME), files.weights)
        archived.writestr(zipfile.ZipInfo(CONFIG_NAME, NO_TIME), files.config)
    return result.getvalue()
