"""Counters: integer cells on the path, a catalogue of names, prometheus-client's exposition on scrape."""
