"""The gateway service: owns the database and every decision."""
