"""Importing smallset changes nothing in the process; prepare() makes its settings, without standard streams as well."""

import subprocess
import sys
from pathlib import Path

import pytest

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
"""
CLOSED = "import os; [os.close(number) for number in range(3)]; os.execv({python!r}, [{python!r}, '-c', {code!r}])"


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_an_import_changes_no_setting() -> None:
    done = run(f"{SETTINGS}{MODULES}assert settings() == before; assert 'tensorflow' not in sys.modules")
    assert done.returncode == 0, done.stderr


def test_the_package_is_imported_quickly_and_without_its_dependencies() -> None:
    code = "import smallset, sys; print({'numpy', 'pandas', 'PIL'} & set(sys.modules), smallset.__version__)"
    assert run(code).stdout.startswith("set() 0.")


def test_an_unknown_public_name_is_an_error() -> None:
    import smallset

    assert set(smallset.__all__) < set(dir(smallset))
    with pytest.raises(AttributeError, match="'smallset' has no attribute 'embedd'"):
        _ = smallset.embedd


def test_every_public_name_is_there() -> None:
    import smallset

    for name in smallset.__all__:
        assert callable(getattr(smallset, name)), name


def test_closed_standard_streams_are_opened() -> None:
    code = "import os, sys; from smallset.pipeline import process; process.prepare(); process.prepare(); print('lost')"
    code += "; sys.stderr.write('lost'); os.write(2, b'lost'); file = open('/dev/null'); os._exit(file.fileno())"
    assert run(CLOSED.format(python=sys.executable, code=code)).returncode > 2


def test_stderr_is_silent_within_the_block_and_comes_back() -> None:
    code = "import os; from smallset.pipeline import process\\nwith process.silence_stderr(): os.write(2, b'lost')\\n"
    done = run(f"exec({(code + 'os.write(2, b`kept`)').replace('`', chr(39))!r}.replace(chr(92) + 'n', chr(10)))")
    assert done.stderr == "kept"


@pytest.mark.slow
def test_tensorflow_is_imported_without_its_messages() -> None:
    code = "from smallset.pipeline import process; process.prepare(); process.import_tensorflow().ones(2).numpy()"
    assert run(code).stderr == ""


@pytest.mark.slow
def test_photos_have_their_channels_last_whatever_keras_json_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keras.json").write_text('{"image_data_format": "channels_first", "backend": "torch"}')
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    prepare = "from smallset.pipeline import process; process.prepare(); "
    show = "print(keras.config.image_data_format(), keras.config.backend())"
    for code in (
        f"{prepare}process.import_tensorflow(); import keras; {show}",
        f"{prepare}import keras; {prepare}{show}",
    ):
        assert run(code).stdout == "channels_last tensorflow\n"
