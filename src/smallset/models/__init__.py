"""Networks, their files, and what turns their outputs into predictions."""
