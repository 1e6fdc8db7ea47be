"""Where the jobs come from: the only place that imports the ``jobs`` app, beside this one or at the top level."""
