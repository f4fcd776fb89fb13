"""Tables as people write them and as labelling tools export them."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from albums import put

from smallset.datasets import scan, tables
from smallset.pipeline.errors import SmallsetError

TWO = {"1.jpg": "cat", "2.jpg": "dog"}


def read(folder: Path, text: str | bytes, name: str = "labels.csv") -> tuple[dict[str, str], str]:
    """The label of each photo, and the notes."""
    table = folder / name
    table.write_bytes(text.encode() if isinstance(text, str) else text)
    rows, notes = tables.read(table, scan.scan(folder))
    return dict(zip(rows["file"], rows["label"], strict=True)), " ".join(notes)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    return put(tmp_path, *TWO)


@pytest.mark.parametrize(
    "text",
    [
        "file,label\n1.jpg,cat\n2.jpg,dog\n",
        "label;file\r\ncat;1.jpg\r\ndog;2.jpg\r\n",
        "filename\tclass\n1.jpg\tcat\n2.jpg\tdog\n",
        "Image|Category\r1.jpg|cat\r2.jpg|dog\r",
        "\ufeffimage, species\n1.jpg, cat\n\n2.jpg, dog",
        "file,label\n1.jpg,cat\n2.jpg,dog\n".encode("utf-16"),
        'File Name,"label"\n"1.jpg","cat"\n"2.jpg","dog"\n',
        "id,label,split\n1,cat,train\n2,dog,TEST\n",
        "1.jpg,cat\n2.jpg,dog\n",
        "cat;1.jpg\ndog;2.jpg\n",
        "TRAIN,gs://bucket/some/1.jpg,cat\nTEST,gs://bucket/some/2.jpg,dog\n",
        "filename, cat, dog\n1.jpg, 1, 0\n2.jpg, 0, 1\n",
        "image,cat,dog,split\n1,1.0,0.0,train\n2,0.0,1.0,val\n",
        "annotation_id,annotator,choice,created_at,id,image,lead_time\n"
        "1,1,cat,2024-01-01,1,/data/upload/1/0a1b2c3d-1.jpg,2.5\n2,1,dog,2024-01-01,2,/data/upload/1/1a1b2c3d-2.jpg,2\n",
        "image,choice\n/data/local-files/?d=photos/1.jpg,cat\n/data/local-files/?d=photos/2.jpg,dog\n",
        'image,choice\n1.jpg,"{""choices"": [""cat""]}"\n2.jpg,"[\'dog\']"\n',
        'filename,file_size,file_attributes,region_count,region_id\n1.jpg,1,"{""kind"":""cat""}",0,0\n'
        '2.jpg,1,"{""kind"":""dog""}",0,0\n',
        "path,label\nC:\\Users\\me\\1.jpg,cat\nC:\\Users\\me\\2.jpg,dog\n",
        "path,label\n/home/me/x/1.JPG,cat\n/home/me/x/2.JPG,dog\n",
        json.dumps([{"image": "1.jpg", "label": "cat", "id": 7}, {"image": "2.jpg", "label": "dog", "id": 8}]),
        '{"file_name": "1.jpg", "label": "cat"}\n{"file_name": "2.jpg", "label": "dog"}\n',
        json.dumps(TWO),
        json.dumps(
            [
                {"id": 1, "data": {"image": "/data/upload/1/0a1b2c3d-1.jpg"}, "annotations": [
                    {"result": [{"type": "choices", "value": {"choices": ["cat"]}}]},
                    {"was_cancelled": True, "result": [{"type": "choices", "value": {"choices": ["dog"]}}]},
                ]},
                {"id": 2, "data": {"image": "/data/upload/1/2.jpg"}, "annotations": [
                    {"result": [{"type": "choices", "value": {"choices": ["dog"]}}]},
                    {"result": [{"type": "choices", "value": {"choices": ["dog"]}}]},
                ]},
                {"id": 3, "data": {"image": "/data/upload/1/3.jpg"}, "annotations": []},
            ]
        ),
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"}],
                "annotations": [{"image_id": 1, "category_id": 4}, {"image_id": 2, "category_id": 5}],
                "categories": [{"id": 4, "name": "cat"}, {"id": 5, "name": "dog"}],
            }
        ),
    ],
)  # fmt: skip
def test_many_layouts_contain_the_same_labels(two: Path, text: str | bytes) -> None:
    assert read(two, text)[0] == TWO


def test_notes_tell_how_columns_were_understood_and_what_is_left_out(two: Path) -> None:
    assert read(two, "file,label\n1.jpg,cat\n2.jpg,dog\n")[1] == ""
    assert read(two, "image,choice,annotator,id\n1.jpg,cat,me,1\n2.jpg,dog,me,2\n")[1] == (
        "labels.csv: file from image; label from choice; not used: annotator, id. "
        "To change this, name columns: --label NAME."
    )
    assert "label from cat, dog" in read(two, "filename,cat,dog\n1.jpg,1,0\n2.jpg,0,1\n")[1]
    put(two, "3.jpg", "4.jpg", "5.nef")
    (two / "6.jpg").write_text("<html>")
    lines = "1.jpg,cat\n2.jpg,dog\n3.jpg,\n./1.jpg,cat\n5.nef,cat\n6.jpg,dog\n"  # one photo twice, two that are none
    labels, notes = read(two, f"file,label\n{lines}")
    assert labels == TWO
    assert "labels.csv: 1 of 6 lines have no label and are left out." in notes
    assert "Left out, because labels.csv does not list them: 2 photos (3.jpg, 4.jpg)." in notes


def test_paths_may_start_elsewhere_and_lack_folders(tmp_path: Path) -> None:
    put(tmp_path, "images/a/1.jpg", "images/b/1.jpg", "images/b/2.jpg")
    expected = {"images/a/1.jpg": "cat", "images/b/1.jpg": "dog"}
    for above in ("", "images/", "/mnt/photos/", "../other/images/", "https://example.org/x/"):
        assert read(tmp_path, f"file,label\n{above}a/1.jpg,cat\n{above}b/1.jpg,dog\n")[0] == expected
    assert read(tmp_path, "file,label\n2.jpg,cat\n")[0] == {"images/b/2.jpg": "cat"}


def test_spelling_and_case_of_names_do_not_matter(tmp_path: Path) -> None:
    spellings = [unicodedata.normalize(form, "é 1.jpg") for form in ("NFC", "NFD")]
    for name, written in (spellings, spellings[::-1]):
        put(tmp_path / name, name, "x.jpg")
        for other in ("X.JPG", "%78.jpg"):
            assert read(tmp_path / name, f"file,label\n{written},cat\n{other},dog\n")[0] == {
                name: "cat",
                "x.jpg": "dog",
            }


def test_an_error_names_all_lines_at_fault(two: Path) -> None:
    rows = "".join(f"{number}.jpg,cat\n" for number in range(1, 60))
    with pytest.raises(SmallsetError) as raised:
        read(two, f"file,label\n{rows}")
    assert all(f"line {number + 1}: '{number}.jpg'" in str(raised.value) for number in range(3, 60))
    assert str(raised.value).endswith("smallset init --skip-missing. There is 1.jpg, and 1 more.")
    put(two, "a/x.jpg", "b/x.jpg", "a/y.jpg", "b/y.jpg")
    with pytest.raises(SmallsetError, match="file: several photos: line 2: 'x.jpg'; line 3: 'y.jpg'. Write the folder"):
        read(two, "file,label\nx.jpg,cat\ny.jpg,dog\n")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "expected the columns file, label .* found nothing"),
        ("a,b,c\n", "expected the columns file, label .* found a, b, c"),
        ("file,label,groups\n1.jpg,cat,1\n", "unknown column 'groups'. Did you mean 'group'"),
        ("file,label,splits\n1.jpg,cat,1\n", "unknown column 'splits'. Did you mean 'split'"),
        ("file,label,label\n", "expected .* found file, label, label"),
        ("file,label\n", "expected a line for each photo, found none"),
        ("file,label\n1.jpg,cat\n\n3.jpg,dog\n", "file: missing in .*: line 4: '3.jpg'. Correct or rem"),
        ("file,label\n/etc/passwd,cat\n1.jpg,dog\n", "file: missing in .*: line 2: '/etc/passwd'"),
        ("file,label\n,cat\n1.jpg,dog\n", "file: missing in .*: line 2: ''"),
        ("file,label\n1.jpg,cat\n./1.jpg,dog\n", "different labels of a photo: line 2: '1.jpg'; line 3: .* Keep one"),
        ("file,label\n1.jpg,cat,x\n2.jpg,dog,x\n", "more cells than columns: line 2: .*; line 3: .*. Put a name"),
        ('file,label\n"1.jpg,cat\n', "not a list of photos and labels: Error: unexpected end of data. Export it"),
        ("file,label,split\n1.jpg,cat,first\n2.jpg,cat,\n", "split: expected train, .*: line 2: 'first'; line 3: ''"),
        ("filename,cat,dog\n1.jpg,1,1\n2.jpg,1,1\n", "more than one label: line 2: '1.jpg'; line 3: '2.jpg'. Keep one"),
        ('[{"a": 1}, 2]', "not a list of photos and labels: .* Export it as CSV"),
        ("{", "not a list of photos and labels"),
        ("file,label\n1.jpg,고양이\n".encode("cp949"), "not a list .*can't decode byte.* Export it as CSV in UTF-8"),
    ],
)  # fmt: skip
def test_an_unclear_table_is_an_error_with_the_lines(two: Path, table: Any, message: str) -> None:
    with pytest.raises(SmallsetError, match=f"labels.csv: {message}"):
        read(two, table)
