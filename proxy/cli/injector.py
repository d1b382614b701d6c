"""``misrule injector``: the webhook that puts the sidecar into pods."""

from typing import TYPE_CHECKING, Any, Final

import click

from proxy.cli.exits import Failed, Misused, ignore_signals

if TYPE_CHECKING:
    from proxy.injector.life import Plan

# Name, what it takes, default, what it is for.
OPTIONS: Final[tuple[tuple[str, str, str, str], ...]] = (
    ("listen", "ADDRESS", "[::]:8443", "Where API servers send reviews, over HTTPS."),
    (
        "certificate",
        "FILE",
        "",
        "Certificate (PEM) that somebody else renews; absent: it is made and kept here.",
    ),
    ("key", "FILE", "", "The certificate's key (PEM); absent: it is in the same file."),
    ("namespace", "NAME", "", "Where this runs; absent: the service account's namespace."),
    ("service", "NAME", "misrule-injector", "The Service that API servers call; the certificate is for it."),
    ("secret", "NAME", "misrule-injector", "The Secret in which replicas share the certificate."),
    ("webhook", "NAME", "misrule-injector", "The MutatingWebhookConfiguration that is to trust it."),
    (
        "certificate-life",
        "TIME",
        "2160h",
        "How long a certificate that is made is good; renewed at two thirds.",
    ),
    ("native-sidecar", "WHEN", "auto", "auto (by the API server's version), true or false."),
    ("image", "IMAGE", "", "Image of the sidecar; absent: misrule with this version."),
    ("image-pull-policy", "POLICY", "IfNotPresent", "Always, IfNotPresent or Never."),
    (
        "capture",
        "WHAT",
        "none",
        "What is captured where no annotation says: none, inbound, outbound or both.",
    ),
    ("run-as-user", "USER", "1337", "The sidecar's user; none: what the platform gives (OpenShift)."),
    ("cpu-request", "CPU", "50m", "CPU reserved for a sidecar."),
    ("cpu-limit", "CPU", "", "CPU of a sidecar at most; absent: no limit."),
    ("memory-request", "MEMORY", "96Mi", "Memory reserved for a sidecar."),
    ("memory-limit", "MEMORY", "256Mi", "Memory of a sidecar at most."),
    ("sidecar-log-level", "LEVEL", "info", "What sidecars log: debug, info, warning or error."),
    ("sidecar-access-log", "WHICH", "injected", "Which exchanges leave a line: all, injected or none."),
    ("log-level", "LEVEL", "info", "What the injector itself logs."),
    ("log-format", "FORMAT", "json", "json or text."),
)


def _with_options(command: Any) -> Any:
    for name, takes, default, doc in reversed(OPTIONS):
        variable = f"MISRULE_INJECTOR_{name.upper().replace('-', '_')}"
        command = click.option(
            f"--{name}",
            envvar=variable,
            metavar=takes,
            default=default,
            show_default=bool(default),
            help=f"{doc}  [{variable}]",
        )(command)
    return command


@click.command()
@_with_options
def injector(**given: str) -> int:
    """Run the webhook that puts Misrule into the pods of a Kubernetes cluster, until SIGTERM.

    What a pod chooses is in its annotations under misrule.dev/: docs/kubernetes.md has them all, and
    deploy/kustomize what makes a cluster call this.
    """
    return serve(planned(given))


def planned(given: dict[str, str]) -> "Plan":
    """Check the options; every mistake is reported at once."""
    from proxy.injector.life import BadOptions, plan

    try:
        return plan(given)
    except BadOptions as error:
        raise Misused(*error.lines) from None


def serve(made: "Plan") -> int:
    """Run the injector in this process until a signal ends it; gives the exit code."""
    import asyncio

    import uvloop

    from proxy.injector.life import CannotStart, run

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            code = runner.run(run(made))
        except CannotStart as error:
            raise Failed(str(error)) from None
    ignore_signals()
    return code
