"""The trainer's gRPC front: it only hands on to the worker processes, and its event loop never waits."""
