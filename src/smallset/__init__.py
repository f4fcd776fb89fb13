"""Small image data sets, a pretrained base, and a pipeline anyone can rerun."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow logs pages; its exceptions still come
