"""Measures how well the defaults learn, on sets that are made from clean speech."""
