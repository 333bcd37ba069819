"""Training itself: one step, an epoch, the loop around them, checkpoints and warm starts."""
