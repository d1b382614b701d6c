"""JSON Schema 2020-12 of the configuration file, for editors; from the same tables that read it."""

from proxy.config.tables import CONFIG
from rules.params import Schema
from rules.schema import document_schema


def config_schema() -> Schema:
    """Describe the configuration file."""
    what = "Listeners, upstreams, admin endpoint and logs: what does not change while the proxy runs."
    return document_schema(CONFIG, "Misrule configuration", what)
