"""Finds artifacts with Essentia's detectors, in a Python that has it: it is AGPL, and no dependency of ours.

    PYTHON_WITH_ESSENTIA bench/detection/peer.py FOLDER

Prints the seconds that it took and the detections as JSON. Each channel is searched by itself.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

FRAME, HOP = 512, 256
TYPES = {
    "click": "glitch",
    "discontinuity": "glitch",
    "gap": "dropout",
    "saturation": "clipping",
    "burst": "static",
}


def detections(es: Any, samples: Any, rate: int) -> list[tuple[str, float, float]]:
    """(kind, start, end) in seconds, with the settings of Essentia's own examples."""
    clicks = es.ClickDetector(frameSize=FRAME, hopSize=HOP, sampleRate=rate)
    gaps = es.GapsDetector(frameSize=FRAME, hopSize=HOP, sampleRate=rate)
    saturations = es.SaturationDetector(frameSize=FRAME, hopSize=HOP, sampleRate=rate)
    jumps = es.DiscontinuityDetector(frameSize=FRAME, hopSize=HOP)
    bursts = es.NoiseBurstDetector()
    found: list[tuple[str, float, float]] = []
    for number, frame in enumerate(
        es.FrameGenerator(samples, frameSize=FRAME, hopSize=HOP, startFromZero=True)
    ):
        at = number * HOP / rate
        found += [("click", start, end) for start, end in zip(*clicks(frame), strict=True)]
        found += [("gap", start, end) for start, end in zip(*gaps(frame), strict=True)]
        found += [("saturation", start, end) for start, end in zip(*saturations(frame), strict=True)]
        found += [("discontinuity", at + place / rate, at + place / rate) for place in jumps(frame)[0]]
        if len(bursts(frame)):
            found.append(("burst", at, at + FRAME / rate))
    return found


def joined(found: list[tuple[str, float, float]], gap: float = 0.2) -> list[tuple[str, float, float]]:
    """Detections of one type no further apart than `gap` seconds are one."""
    result: list[tuple[str, float, float]] = []
    for kind, start, end in sorted((TYPES[kind], start, end) for kind, start, end in found):
        if result and result[-1][0] == kind and start - result[-1][2] <= gap:
            result[-1] = (kind, result[-1][1], max(end, result[-1][2]))
        else:
            result.append((kind, start, end))
    return result


def main(folder: Path) -> None:
    """Prints what is found in every file of the folder."""
    import essentia  # type: ignore[import-not-found]  # noqa: PLC0415  only the Python of the peer has it
    import essentia.standard as es  # type: ignore[import-not-found]  # noqa: PLC0415

    essentia.log.infoActive = essentia.log.warningActive = False
    rows, seconds = [], 0.0
    for path in sorted(folder.glob("*.wav")):
        started = time.perf_counter()
        samples, rate, channels, *_ = es.AudioLoader(filename=str(path))()
        for channel in range(channels):
            for kind, start, end in joined(detections(es, samples[:, channel], int(rate))):
                rows.append(
                    (path.name, kind, round(1000 * start), max(round(1000 * end), round(1000 * start) + 10))
                )
        seconds += time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "types": sorted(set(TYPES.values())), "rows": rows}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
