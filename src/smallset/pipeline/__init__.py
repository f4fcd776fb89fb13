"""What surrounds a stage: params, errors, progress, provenance, and the end of a stage when DVC has died.

It reads, checks and reports. Only `files` can change a result, so it is the only module that stages declare as a dep.
"""
