"""What goes over the wire: pure, and of no transport."""
