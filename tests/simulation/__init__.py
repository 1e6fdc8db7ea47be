"""The read path under a simulation: the real consumer and hub, in a world that a seed chooses, in virtual time.

    clock.py      an event loop whose selector advances the clock instead of sleeping
    database.py   rows and log as the selectors show them, and all that was ever true
    layer.py      a channel layer that delays, loses, repeats, reorders, raises, hangs, goes deaf and crashes
    sockets.py    the server's end of a socket: plain ASGI, or with a writer of frames
    views.py      what a client knows, folded as the protocol says; what may not be is claimed here
    feed_views.py the same of a feed
    clients.py    who comes, subscribes, stops to read, leaves and comes back
    world.py      all of it together: time, chance, faults, and the story
    scenario.py   one seed: turmoil, calm, the truth, nothing left behind
    listening.py  what the software logs, of which an error is a violation
    seam.py       where the world takes the place of the database, the layer and the clocks
    faults.py     faults to plant, each of which must be found

`python -m tests.simulation --help` runs many seeds, or one again with its story.
"""
