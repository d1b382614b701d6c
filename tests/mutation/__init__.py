"""Coverage by meaning: each fault, matcher and part of ``sample`` is disabled in turn; a test must go red.

``make mutation`` runs it.  The list is made from the code: a new kind of fault or condition is on it at once.
"""
