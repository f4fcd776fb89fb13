"""Where photos come from: archives, folders, tables, drawings; and which split each of them goes to."""
