"""Small image data sets, a pretrained base, and a pipeline anyone can rerun."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow logs pages; its exceptions still come

if "DVC_STAGE" in os.environ:  # here, since DVC may be killed in the seconds that the import of TensorFlow takes
    from smallset import following

    following.start()
