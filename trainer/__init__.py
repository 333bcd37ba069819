"""The trainer service: owns the accelerator and no state. Decodes, trains, detects; never sees the database."""
