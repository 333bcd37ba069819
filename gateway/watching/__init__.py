"""How events go out: topics that wake watchers, and a cursor for each watcher."""
