"""The trainers: their addresses and capacity, which of them gets work, and why a job waits."""
