"""Decides.  Nothing in here can block, read a clock or draw a random number."""
