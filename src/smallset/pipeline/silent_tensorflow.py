"""Importing this module imports TensorFlow without its start messages. Only stage scripts import it, as the first."""

from smallset.pipeline import process

process.prepare()
process.import_tensorflow()
