"""The rules that changes must satisfy: pure functions from facts to violations."""
