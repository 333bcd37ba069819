"""The drill: runs a whole system under load and faults, and then checks every promise."""
