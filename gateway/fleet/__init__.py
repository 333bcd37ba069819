"""The trainers: where they are, what each has free, which one gets work, and why a job waits."""
