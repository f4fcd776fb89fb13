"""The commands of `smallset`, each in a module of its name."""
