"""The log of a job over plain HTTP, one answer a request: for polling, with or without a wait, and for any cache."""
