"""What goes wrong with certificates, said to people."""


class CertError(Exception):
    """A certificate, key or authority cannot be made, read or used; the message says which, where and why."""


def brief(error: Exception) -> str:
    """Give what a library said without its advice to programmers."""
    return str(error).partition(". See http")[0]
