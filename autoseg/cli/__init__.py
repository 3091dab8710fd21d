"""One short file a command: parse, call the API, print."""
