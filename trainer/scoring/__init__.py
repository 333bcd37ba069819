"""From the network's scores to detections, and from detections to figures."""
