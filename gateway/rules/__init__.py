"""What must hold before something is changed: pure functions from facts to violations."""
