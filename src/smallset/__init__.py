"""Small image data sets, a pretrained base, and a pipeline anyone can rerun.

A photo's way through the rooms: sources, photos, bases and networks, frozen, training, measures, showing. Below them
are storage and pipeline, which all of them use; above them tools, the commands. Imports go that way alone.
"""

import gc
import os
import sys
from pathlib import Path

from smallset.pipeline import quiet

quiet.start()
os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever the environment or ~/.keras/keras.json says

if os.environ.get("DVC_STAGE"):  # before all else, since another smallset may lack what the stage's script imports
    gc.disable()  # until stage.run: what the imports make is there to stay, and is not looked through again and again

    from smallset.pipeline import origin

    origin.check(Path(__file__).parent, Path(sys.argv[0]))

    from smallset.pipeline import watchdog

    watchdog.start()  # here, since DVC may be killed in the seconds that the import of TensorFlow takes
