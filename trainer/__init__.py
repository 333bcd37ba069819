"""The trainer service: owns the accelerator and no state. Decodes, trains, detects; sees no database."""
