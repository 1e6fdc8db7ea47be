"""What carries a `session.Session`: WebSockets, on Channels (`websocket`), with more on Daphne (`daphne`).

A transport makes a `delivery.connection.Connection` of what its server gives it to send with, and a session of that. It
begins the session, hands over what the client says (``take``), reads no more while there is no ``room``, and ends it.
"""
