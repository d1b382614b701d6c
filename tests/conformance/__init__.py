"""The 146 cases of h2spec 2.2 (generic, http2, hpack), ported: same names, sections and verdicts."""
