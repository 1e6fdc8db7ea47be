"""What carries a `session.Session`: WebSockets, on Channels (`websocket`, `asgi`), with more on Daphne (`daphne`).

A transport has a `delivery.connection.Sender`, which frames what it is given, and makes a `Connection` of it, and of
that a session. It begins the session, hands over what the client says (``take``), reads no more while there is no
``room``, and ends it.
"""
