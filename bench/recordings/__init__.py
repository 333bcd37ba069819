"""Measures how well a model that learned from clean recordings finds artifacts in what people have."""
