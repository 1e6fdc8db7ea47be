"""Attacks on a real ``serve`` with frames and handshakes that no client would send.

What is sent: `inputs`. How it travels, byte by byte: `wire`. What must hold whatever is sent: `target`.

``make fuzz ARGS="--seconds 600"`` looks for as long as you like; the tests look for a few seconds.
"""
