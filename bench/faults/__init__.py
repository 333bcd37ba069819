"""The drill: a whole system under load and under faults, and a check of every promise afterwards."""
