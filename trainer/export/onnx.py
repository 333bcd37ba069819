"""The ONNX form: one graph from PCM to scores. docs/export.md describes it."""

import json
from dataclasses import asdict

import numpy as np

from earmark.scores import FRAME_MS
from earmark.trainer.export.frontend import features
from earmark.trainer.export.graph import Graph
from earmark.trainer.export.network import scores
from earmark.trainer.export.waveform import Frames
from earmark.trainer.features.version import FRONTEND_VERSION
from earmark.trainer.model import Model


def onnx_model(model: Model, sample_rate: int) -> bytes:
    """Return the model as ONNX for PCM at `sample_rate`, a multiple of RATE_STEP from 8,000 to 48,000 Hz."""
    graph = Graph()
    pcm = graph.input("pcm", np.float32, ["samples"])
    found = scores(model, features(pcm, sample_rate), Frames.of(pcm, sample_rate).count)
    metadata = {
        "artifact_types": json.dumps([asdict(learned) for learned in model.types]),
        "frame_ms": str(FRAME_MS),
        "frontend": FRONTEND_VERSION,
        "sample_rate_hz": str(sample_rate),
    }
    return graph.model({"scores": (found, ["frames", len(model.types)])}, metadata)
