"""What carries the protocol: WebSockets, on Channels and on Daphne."""
