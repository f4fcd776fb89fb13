"""TensorFlow's start lines are gone wherever it is imported first; what Python says stays."""

import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("first", ["tensorflow", "keras"])
def test_nothing_is_logged_by_an_import_and_a_first_computation(first: str) -> None:
    code = f"import smallset, {first}, tensorflow, sys; tensorflow.ones(2).numpy(); sys.stderr.write('last')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "last"


def test_an_import_that_fails_says_so() -> None:
    code = "import sys, smallset; sys.modules['numpy'] = None; import tensorflow"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode
    assert "ModuleNotFoundError" in done.stderr
