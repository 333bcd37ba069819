"""The demo: speech with planted artifacts, a detector trained on it, and a picture of what it finds."""
