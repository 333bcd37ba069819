"""The trainer's front process: serves gRPC and passes all work to worker processes."""
