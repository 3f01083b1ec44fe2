"""Adapters behind the ports of `recsys.ports`: a log and a state store, embedded and at scale.

Nothing here is imported by the core. A composition root calls `recsys.open.open_log(url)` or
`recsys.open.open_store(url)`, which imports the one adapter that the URL names.
"""
