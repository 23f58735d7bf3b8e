import csv
import re
import zipfile

import numpy as np
import pytest
import torch
from skimage.data import astronaut

from faceseal.errors import TrainingDataError
from faceseal.faces.pose import face_view
from faceseal.training.data import FaceSquares, Source
from faceseal.training.looks import read_looks, train_on_looks

LANDMARKS = np.array([[37.0, 37], [87, 37], [62, 65], [42, 88], [84, 88]])


def test_the_network_tells_faces_apart_that_were_said_to_look_different():
    head = astronaut()[40:168, 160:288]
    other = np.ascontiguousarray(255 - head)
    squares = FaceSquares(np.stack([head, other] * 32), np.repeat(LANDMARKS[None], 64, axis=0))
    network = train_on_looks(squares, np.array([[0.0, 30.0], [1.0, 60.0]] * 32), epochs=60)
    views = torch.from_numpy(np.stack([face_view(one, LANDMARKS) for one in (head, other)]))
    with torch.no_grad():
        (woman, young), (man, old) = network(views).numpy()
    assert woman < -1
    assert man > 1
    assert abs(young - 30) < 6
    assert abs(old - 60) < 6


@pytest.fixture
def squares(tmp_path):
    archive = tmp_path / "faces.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("landmarks.csv", "file\nb.png\na.png\n")
    return Source(archive)


def table(folder, *rows):
    path = folder / "looks.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("file", "male", "age"), *rows])
    return path


def test_labels_are_in_the_order_of_the_squares(squares, tmp_path):
    looks = read_looks(table(tmp_path, ("a.png", 1, 70), ("b.png", 0.25, 8.5), ("c.png", 0, 1)), squares)
    assert looks.tolist() == [[0.25, 8.5], [1.0, 70.0]]


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([("a.png", 1, 70)], "looks.csv lacks 'b.png'"),
        ([("a.png", 1, 70), ("b.png", "f", 30)], "male and age must be numbers"),
        ([("a.png", 1, 70), ("b.png", 2, 30)], "male must be from 0 to 1"),
        ([("a.png", 1, 70), ("b.png", 0, "inf")], "male must be from 0 to 1"),
        ([("a.png", 1, 70), ("b.png",)], "male and age must be numbers"),
    ],
    ids=["missing", "word", "beyond", "infinite", "short"],
)
def test_labels_that_do_not_fit_are_refused(squares, tmp_path, rows, complaint):
    with pytest.raises(TrainingDataError, match=re.escape(complaint)):
        read_looks(table(tmp_path, *rows), squares)


def test_a_missing_table_is_named(squares, tmp_path):
    with pytest.raises(TrainingDataError, match=r"none\.csv cannot be read"):
        read_looks(tmp_path / "none.csv", squares)


def test_a_table_with_other_columns_says_which_it_needs(squares, tmp_path):
    path = tmp_path / "looks.csv"
    path.write_text("file,sex\na.png,0\n")
    with pytest.raises(TrainingDataError, match="needs columns file, male, age"):
        read_looks(path, squares)
