"""What carries a `session.Session`: WebSockets, by a consumer (`consumers`) that sends by ASGI (`asgi`), and `sse`.

`daphne` is our server, which offers faster ways to send. A transport does this:

- It has a `delivery.connection.Sender`, which encodes each chunk once for all of its connections (`Chunk.encoded`),
  calls ``pause_writing`` when it is full, and ``resume_writing`` when it no longer is.
- It refuses a page of another origin (`identity.auth.is_foreign`), and accepts the client before it begins the session,
  which reads the credentials from a Django request (`identity.auth.request_of`).
- In the event loop, it makes a `delivery.connection.Connection` from its sender, and a session from that. It calls the
  session's ``begin``, passes it each message of the client (``receive``), reads no further message before
  ``wait_for_room`` returns, and calls ``end`` whatever happens.
- A cookie counts only for a page of the site (`identity.auth.is_of_a_page`).
- When the server stops, it closes the connection with ``CloseCode.GOING_AWAY``. How a close code is shown is up to it.
"""
