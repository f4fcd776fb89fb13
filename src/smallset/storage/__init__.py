"""How results reach the disk: whole or not at all, and what a killed run leaves for the next one.

Everything else stands on this room, so an edit here makes every stage run again.
"""
