"""The trainer's worker processes: one trains, one detects, and several decode audio."""
