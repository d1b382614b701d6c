"""The leaves of the hot path, timed without sockets, in both builds side by side."""
