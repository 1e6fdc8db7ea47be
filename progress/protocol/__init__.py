"""What goes over the wire: pure, without input or output, and of no transport. ``docs/protocol.md`` specifies it."""
