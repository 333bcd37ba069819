"""Checks an accelerator and measures the whole system on it, in one run."""
