"""The codecs: tables of bytes and messages, read whole, byte by byte and with a tail."""
