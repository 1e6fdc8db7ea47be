"""Who a client is, and how much it may send."""
