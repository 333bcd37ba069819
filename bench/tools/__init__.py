"""What the measurements share: data, the folder format, processes, scores and the machine's own rate."""
