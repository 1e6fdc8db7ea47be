"""Server-sent events: the frames of a WebSocket, over a plain GET of HTTP.

`application` begins a stream, `wanted` reads its URL, `encoding` makes events of frames, `answer` decides what the
answer is before the first event leaves, and `asgi` sends. Our own server has a faster way to send.
"""
