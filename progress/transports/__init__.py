"""What carries a `session.Session`: the WebSocket consumer (`consumers`, `asgi`), and our server (`daphne`).

A transport makes a `delivery.connection.Connection` from its `Sender`, and a session from that. It calls the session's
``begin``, passes it each message of the client (``receive``), reads no further message before ``wait_for_room``
returns, and calls ``end``.
"""
