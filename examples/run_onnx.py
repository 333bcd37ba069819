"""Runs a model in the ONNX form with onnxruntime. docs/export.md explains what it takes and gives.

    python examples/run_onnx.py model.onnx recording.wav

prints what is found in the first channel of a 16-bit WAV file, whose rate is the one of the export.
"""

import json
import sys

import onnxruntime
from run_model import detections, read_wav


def main() -> None:
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    pcm, rate, begin = read_wav(sys.argv[2])
    if rate != int(metadata["sample_rate_hz"]):
        sys.exit(f"the model takes {metadata['sample_rate_hz']} Hz, and the recording has {rate}")
    [scores] = session.run(["scores"], {"pcm": pcm})
    types = json.loads(metadata["artifact_types"])
    for found in detections(types, scores, len(pcm) * 1000 // rate, begin):
        print(*found)


if __name__ == "__main__":
    main()
