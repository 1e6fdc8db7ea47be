"""A project that is not ours."""
