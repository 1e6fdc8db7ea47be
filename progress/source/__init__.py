"""Where the jobs come from: the one place that knows the other app, within the same package or at the top level."""
