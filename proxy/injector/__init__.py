"""The injector: a mutating webhook that puts Misrule into pods as they are created.

It keeps no state: an admission review comes in (``review``), the pod's annotations say what is wanted
(``annotations``), and out goes a JSONPatch (``patch``) with the sidecar (``containers``) and its
configuration (``configuration``).  It never denies a pod.  What it serves with, it makes and renews itself
(``identity``, over the Kubernetes API of ``cluster``), or reads from files.  None of it runs where traffic
passes.
"""
