"""Watching from a program or a terminal, without Django."""
