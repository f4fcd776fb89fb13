"""What surrounds a stage: params, errors, progress, the watch over DVC, the note of what results were made with.

It reads, checks and reports, and can change no result: no stage declares it as a dep, so an edit here reruns nothing.
"""
