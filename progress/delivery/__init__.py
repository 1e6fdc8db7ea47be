"""From a process to each of its watchers."""
