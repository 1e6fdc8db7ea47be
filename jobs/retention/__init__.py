"""A log that stays small: what leaves it, when, and without anybody waiting."""
