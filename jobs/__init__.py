"""Background jobs: their states, their lifecycle and the log of every change."""
