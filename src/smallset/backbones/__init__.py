"""Pretrained bases: which there are, where their weights come from, where each is cut into trunk and top."""
