"""The proxies that are measured: ours in both builds, the peers, and no proxy at all.

One file for each; :data:`SUBJECTS` is the table.  A subject knows how to find its program, how to write its
configuration for a rule set, and to say in one line why it steps aside.
"""

from benchmarks.load.subjects.base import Command, Subject
from benchmarks.load.subjects.direct import Direct
from benchmarks.load.subjects.envoy import Envoy
from benchmarks.load.subjects.haproxy import HAProxy
from benchmarks.load.subjects.misrule import Misrule
from benchmarks.load.subjects.nghttpx import Nghttpx
from benchmarks.load.subjects.nginx import Nginx
from benchmarks.load.subjects.toxiproxy import Toxiproxy

COMPILED = "misrule compiled"
INTERPRETED = "misrule interpreted"

SUBJECTS: tuple[Subject, ...] = (
    Misrule(COMPILED, compiled=True),
    Misrule(INTERPRETED, compiled=False),
    HAProxy(),
    Nginx(),
    Envoy(),
    Nghttpx(),
    Toxiproxy(),
    Direct(),
)

__all__ = ["COMPILED", "INTERPRETED", "SUBJECTS", "Command", "Subject"]
