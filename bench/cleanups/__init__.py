"""A week of clean-ups in fast motion: what uploads, jobs and deletions leave behind."""
