"""Live progress of jobs over WebSocket: the hub, the consumer, the pages."""
