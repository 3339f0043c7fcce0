"""What others install: client, offline verifier, command line."""
