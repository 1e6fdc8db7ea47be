"""Daphne, hardened for many watchers and for strangers; started by ``manage.py serve``.

It reaches below the surface of Daphne, Autobahn and Twisted, so their versions are pinned in requirements.txt, and
``tests/progress/transports`` and ``test_strangers.py`` check what it relies on. An application that knows nothing of
this runs as on any Daphne.
"""
