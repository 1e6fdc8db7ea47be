"""A server rather than a transport: Daphne, hardened for many watchers and hostile clients (``manage.py serve``).

It relies on internals of Daphne, Autobahn and Twisted, so their versions are pinned in requirements.txt, and
``tests/progress/transports`` and ``test_strangers.py`` check those internals. Any ASGI application runs on it as on
plain Daphne.
"""
