"""Audio to features: what the network sees of a recording."""
