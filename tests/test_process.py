"""Importing smallset changes nothing in the process; prepare() makes its settings, without standard streams as well."""

import subprocess
import sys
from pathlib import Path

import pytest

import smallset

SETTINGS = """
import os, sys, threading, warnings
def settings():
    import pandas, PIL.Image
    options = PIL.Image.MAX_IMAGE_PIXELS, pandas.get_option("mode.string_storage"), "'PIL" in str(warnings.filters)
    return options, list(sys.meta_path), dict(os.environ), threading.active_count()
before = settings()
"""
MODULES = """
import smallset.pipeline.stage, smallset.pipeline.cluster, smallset.datasets.dataset, smallset.features.store
import smallset.models.predictions, smallset.models.reference
assert settings() == before
import smallset.backbones.registry, smallset.models.classifier, smallset.training.linear_probe
assert not {"keras", "tensorflow"} & {*sys.modules}
"""
CLOSED = "import os; [os.close(number) for number in range(3)]; os.execv({python!r}, [{python!r}, '-c', {code!r}])"
PREPARE = "from smallset.pipeline import process; process.prepare(); "


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_an_import_changes_no_setting_and_few_modules_need_keras() -> None:
    done = run(f"{SETTINGS}{MODULES}")
    assert done.returncode == 0, done.stderr


def test_the_package_is_imported_quickly_and_without_its_dependencies() -> None:
    code = "import smallset, sys; print({'numpy', 'pandas', 'PIL'} & set(sys.modules), smallset.__version__)"
    assert run(code).stdout.startswith("set() 0.")


def test_every_public_name_is_there_and_another_one_is_an_error() -> None:
    assert set(smallset.__all__) < set(dir(smallset))
    for name in smallset.__all__:
        assert callable(getattr(smallset, name)), name
    with pytest.raises(AttributeError, match="'smallset' has no attribute 'embedd'"):
        _ = smallset.embedd


def test_closed_standard_streams_are_opened() -> None:
    code = f"import os, sys; {PREPARE}process.prepare(); print('lost'); sys.stderr.write('lost'); os.write(2, b'lost')"
    code += "; file = open('/dev/null'); os._exit(file.fileno())"
    assert run(CLOSED.format(python=sys.executable, code=code)).returncode > 2


def test_stderr_is_silent_within_the_block_and_comes_back() -> None:
    silent = "import os; from smallset.pipeline import process\nwith process.silence_stderr(): os.write(2, b'lost')\n"
    assert run(f"{silent}os.write(2, b'kept')").stderr == "kept"


@pytest.mark.slow
def test_tensorflow_is_imported_without_its_messages() -> None:
    assert run(f"{PREPARE}process.import_tensorflow().ones(2).numpy()").stderr == ""


@pytest.mark.slow
def test_photos_have_their_channels_last_whatever_keras_json_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keras.json").write_text('{"image_data_format": "channels_first", "backend": "torch"}')
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    show = "print(keras.config.image_data_format(), keras.config.backend())"
    for first in ("process.import_tensorflow(); import keras; ", f"import keras; {PREPARE}"):
        assert run(f"{PREPARE}{first}{show}").stdout == "channels_last tensorflow\n"
