"""The stages of a project: each module has a main(), which `smallset run` calls."""
