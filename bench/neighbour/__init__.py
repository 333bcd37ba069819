"""What a quiet neighbour of a misbehaving caller perceives."""
