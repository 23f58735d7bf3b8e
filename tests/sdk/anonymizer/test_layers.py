import uuid
from dataclasses import replace

import numpy as np
from held_keys import VECTOR_KEY
from hypothesis import given
from hypothesis import strategies as st

from faceseal.anonymizer.placing import face_at, layers, masked_pixels
from faceseal.envelope.header import FaceRecord
from faceseal.imagekey import ImageKey


def record(x: int, y: int, cell: int) -> FaceRecord:
    return FaceRecord(x, y, cell, np.ones((16, 16), bool), np.zeros((7, 2)), bytes(16), 40)


def meet(one: FaceRecord, other: FaceRecord) -> bool:
    overlap_x = min(one.x + one.side, other.x + other.side) - max(one.x, other.x)
    overlap_y = min(one.y + one.side, other.y + other.side) - max(one.y, other.y)
    return overlap_x > 0 and overlap_y > 0


def test_faces_apart_share_a_layer_and_faces_that_meet_do_not():
    assert layers([record(0, 0, 4), record(64, 0, 4), record(60, 60, 4)]) == [[0, 1], [2]]
    assert layers([]) == []


@given(st.lists(st.builds(record, st.integers(-50, 200), st.integers(-50, 200), st.integers(1, 12)), max_size=12))
def test_every_face_is_in_one_layer_above_all_earlier_faces_that_it_meets(faces):
    order = layers(faces)
    level = {index: depth for depth, layer in enumerate(order) for index in layer}
    assert sorted(level) == list(range(len(faces)))
    for later in range(len(faces)):
        for earlier in range(later):
            if meet(faces[earlier], faces[later]):
                assert level[earlier] < level[later]


def test_a_face_sees_nothing_of_a_later_one_and_all_of_an_earlier_one():
    photo = np.zeros((64, 100, 3), np.uint8)
    left, right = np.zeros((2, 16, 16), bool)
    left[4:12, 4:10], right[4:12, 4:10] = True, True
    faces = [replace(record(0, 0, 4), mask=left), replace(record(34, 0, 4), mask=right)]
    key = ImageKey(uuid.uuid4(), bytes(32))
    hidden = masked_pixels(faces[1], photo)[:64, :64].reshape(16, 4, 16, 4).any(axis=(1, 3))
    first, second = (face_at(photo, faces, index, key) for index in range(2))
    assert hidden.any()
    assert np.array_equal(first.inside, ~hidden)
    assert second.inside.all()


def test_the_keys_of_a_face_stay_what_they_were():
    """Files that were sealed are restored with them."""
    face = replace(record(0, 0, 8), nonce=bytes(range(16)))
    found = face_at(np.zeros((200, 200, 3), np.uint8), [face], 0, VECTOR_KEY)
    assert found.stream_key.hex() == "9c6d060d9be01fee4cefd9fe0c3a62c0726e4b7d8f17797650e6af5bb90c2ad1"
    assert found.public_seed.hex() == "3f6d773ecf9bbaf2b7c5fea45e982eb95acac779cb638da8dd099021e4a0fc70"
