"""The scripts that run inside Redis, one purpose a file."""
