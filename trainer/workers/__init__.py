"""The trainer's worker processes: one that trains, one that detects, and a few that decode."""
