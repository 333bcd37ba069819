"""Compares detections with annotations, and the detections of two jobs. Nothing here does input or output."""
