"""``sask oncall``: alerts in, a read-only diagnosis out, and the change it calls for waits for a person's yes."""
