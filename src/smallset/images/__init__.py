"""From files to batches of pixels: which photos there are, how one is decoded, how training sees it."""
