"""The kernel's rules that bring connections to a capturing listener: made, put in force, shown and removed.

No part of the proxy that carries traffic is here: this runs once, before it, with rights that it has not.
"""
