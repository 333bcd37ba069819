"""What a detection job costs, and what another library's detectors find in the same files."""
