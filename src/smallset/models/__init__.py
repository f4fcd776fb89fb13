"""What computes: convnets, heads, how parts become one model, what runs it, how its file is written."""

import keras

# Whatever ~/.keras/keras.json says; smallset/__init__.py sees to its backend.
keras.config.set_image_data_format("channels_last")
keras.config.set_floatx("float32")
