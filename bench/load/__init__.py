"""The gateway under load, each figure beside its bare counterpart in the same run."""
