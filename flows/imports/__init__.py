"""The edges: files of other systems, translated to log records before anything else sees them.

Readers (`ga4.read_ga4`, `segment.read_segment`, `feeds.read_feed`) turn a file into records or
items, and into a `RowProblem` for each row they cannot take; `append` puts them into the log.
"""
