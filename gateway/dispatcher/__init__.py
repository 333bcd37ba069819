"""Hands work to trainers: claims it from the queues, runs it, and takes over what other gateways left."""
