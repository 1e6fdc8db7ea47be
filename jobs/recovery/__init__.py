"""Workers that are lost: how a process says that it lives, who notices that one does not, what becomes of its jobs."""
