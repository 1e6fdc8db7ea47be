"""How long a job still takes, learned from earlier runs of its kind."""
