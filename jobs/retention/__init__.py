"""How the log stays small: what is left out of it while a job runs, and after it has ended."""
