"""The trainer: decodes audio, trains models and detects with them. It needs no database."""
