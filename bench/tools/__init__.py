"""Code shared by the measurements: training data, the folder format, process memory, scores, FLOP rates."""
