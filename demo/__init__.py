"""What ``make run`` and the specification's demonstration show; nothing depends on it."""
