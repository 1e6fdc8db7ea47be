"""What goes over the wire, as ``docs/protocol.md`` specifies it: pure, without input or output.

A frame is kept as the bytes that a WebSocket takes, header and all, since they are the same for every watcher.
"""
