"""The path of a request: one file per phase, in this order, each knowing only later ones.

accept → request_head → request_body → resolve → connect → response_head → response_body → end

Un-faulted, a GET runs: ``ClientConnection.data_received`` (request_head) → ``resolve.enter`` →
``connect.enter`` → write; back: ``UpstreamConnection.data_received`` (connect) →
``response_head.enter`` → ``response_body`` → ``end.finish``.  No Task, no timer.

A phase with faults planned for it hands them to the performer and goes on when that calls back.
Going back (pausing the other side, the next request) is done through the exchange's two sides.
"""
