"""The wire protocol, as ``docs/protocol.md`` specifies it: pure, without input or output.

A frame is encoded once, since its bytes are the same for every watcher.
"""
