"""The gateway under load: each figure next to its bare counterpart in the same run."""
