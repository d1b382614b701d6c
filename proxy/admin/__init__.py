"""The admin endpoint: rules, figures and events over HTTP, secure by default (see ``guard``)."""
