"""The gateway service: owns the database and makes every decision."""
