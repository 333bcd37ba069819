"""Where the audio of a file lies, and whether all its bytes are there. One module per kind of container."""
