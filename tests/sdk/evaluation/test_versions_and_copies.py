import io
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from faceseal import FAST, Photo, anonymize
from faceseal.anonymizer import attempts, read_sealed, restore_with_key
from faceseal.anonymizer.attempts import Demands
from faceseal.anonymizer.generator import exchange_with, open_model
from faceseal.anonymizer.identity import IdentityGuard
from faceseal.errors import WrongKey
from faceseal.evaluation.baseline import try_baseline
from faceseal.evaluation.copies import anonymize_with, restore_copies
from faceseal.evaluation.pairs import read_pairs
from faceseal.evaluation.speed import time_sealing
from faceseal.evaluation.trial import MemoryKeys, flipped, new_key
from faceseal.evaluation.versions import CODED, Version, coded


@pytest.fixture(scope="module")
def model(tiny_weights):
    return open_model(tiny_weights)


@pytest.fixture(scope="module")
def photo(pairs_file):
    return next(read_pairs(pairs_file)).first


@pytest.fixture(scope="module")
def keys():
    return MemoryKeys()


@pytest.fixture(scope="module")
def sealed(photo, keys, model):
    return anonymize(photo, keys=keys, profile=FAST, model=model)


def test_each_way_of_coding_gives_the_file_that_it_names_without_metadata(photo):
    formats = {Version.JPEG_90: "JPEG", Version.JPEG_75: "JPEG", Version.WEBP_80: "WEBP", Version.RESIZED: "PNG"}
    for version in CODED:
        with Image.open(io.BytesIO(coded(photo.pixels, version))) as image:
            assert image.format == formats[version]
            assert not image.getexif()
            assert "icc_profile" not in image.info
            assert image.size == ((180, 180) if version is Version.RESIZED else (200, 200))


def test_coarser_jpeg_is_farther_from_the_photo(photo):
    def error(version):
        again = np.asarray(Image.open(io.BytesIO(coded(photo.pixels, version))))
        return np.mean((photo.pixels.astype(float) - again) ** 2)

    assert 0 < error(Version.JPEG_90) < error(Version.JPEG_75)


def test_what_is_no_way_of_coding_is_refused(photo):
    with pytest.raises(ValueError, match="no way of coding"):
        coded(photo.pixels, Version.ANONYMIZED)


def test_copies_restored_together_come_back_as_each_does_alone(sealed, keys, model):
    content = read_sealed(sealed.content)
    key = keys.release(sealed.key_id, None)
    jpeg = read_sealed(coded(sealed.pixels, Version.JPEG_90), header=sealed.header_bytes)
    wrong = new_key()
    together = restore_copies([content, content, jpeg], [key, wrong, key], model)
    alone = [
        restore_with_key(c, k, model=model, force=True) for c, k in ((content, key), (content, wrong), (jpeg, key))
    ]
    for one, other in zip(together, alone, strict=True):
        assert np.abs(one.astype(int) - other.pixels).max() <= 1
    assert np.abs(together[0].astype(int) - together[1]).max() > 10


def test_copies_with_equal_pixels_share_an_inversion(sealed, keys, model, monkeypatch):
    from faceseal.exchange import Exchange

    inverted, noise = [], Exchange.anonymous_noise
    monkeypatch.setattr(
        Exchange, "anonymous_noise", lambda self, faces: inverted.append(len(faces)) or noise(self, faces)
    )
    content = read_sealed(sealed.content)
    restore_copies([content] * 3, [keys.release(sealed.key_id, None), new_key(), new_key()], model)
    assert inverted == [1]


def test_each_further_key_gives_another_face_and_nothing_else_changes(sealed, photo, model):
    record, header = sealed.header.faces[0], sealed.header
    exchange = exchange_with(model, header.solver, header.keyed_map)
    made = anonymize_with(new_key, 3, photo.pixels, record, exchange, Demands(FAST))
    outside = (sealed.pixels == photo.pixels).all(axis=2)
    assert len(made) == 3
    for one in made:
        assert (one[:2] == photo.pixels[:2]).all()
        assert np.mean(one[outside] != photo.pixels[outside]) < 0.02
    assert np.abs(made[0].astype(int) - made[1]).max() > 10


def test_a_face_that_the_guard_refuses_is_made_again(sealed, photo, model, monkeypatch):
    monkeypatch.setattr(attempts, "MOST_ROUNDS", 3)
    scores = [0.9, 0.1, 0.9, 0.2, 0.9, 0.9]
    said = iter(scores)
    guard = IdentityGuard(lambda _one, _other, _points: next(said), 0.5)
    exchange = exchange_with(model, sealed.header.solver, sealed.header.keyed_map)
    demands = Demands(replace(FAST, draws=1, finished=1), guard)
    made = anonymize_with(new_key, 3, photo.pixels, sealed.header.faces[0], exchange, demands)
    assert len(made) == 3
    assert next(said, None) is None


def test_a_flipped_bit_makes_a_key_that_is_refused(sealed, keys):
    key = keys.release(sealed.key_id, None)
    other = flipped(key, 200)
    changed = int.from_bytes(key.secret, "big") ^ int.from_bytes(other.secret, "big")
    assert changed.bit_count() == 1
    assert flipped(other, 200) == key
    with pytest.raises(WrongKey):
        restore_with_key(read_sealed(sealed.content), other)


def test_the_baseline_gives_a_face_for_each_key_in_the_mask_alone(sealed, photo, model, monkeypatch):
    from faceseal import published

    quick = published.anonymize
    monkeypatch.setattr(published, "anonymize", lambda model, faces, _steps=2: quick(model, faces, 2))
    record = sealed.header.faces[0]
    found = try_baseline(photo.pixels, record, new_key(), new_key(), model)
    assert set(found) == {Version.BASELINE_ANONYMIZED, Version.BASELINE_RESTORED, Version.BASELINE_WRONG_KEY}
    for pixels in found.values():
        assert (pixels[: max(record.y, 0)] == photo.pixels[: max(record.y, 0)]).all()
    different = found[Version.BASELINE_RESTORED] != found[Version.BASELINE_WRONG_KEY]
    assert different.mean() > 0.01


def test_sealing_is_timed_once_per_photo_after_one_that_warms_up(photo, model):
    blank = Photo(np.full((100, 100, 3), 127, dtype=np.uint8))
    speed = time_sealing([photo, blank, photo, photo], FAST, model)
    assert len(speed.seconds) == 2
    assert min(speed.seconds) > 0
    assert speed.median == pytest.approx(sum(speed.seconds) / 2)


def test_nothing_sealed_takes_no_time_that_could_be_told(model):
    assert math.isnan(time_sealing([], FAST, model).median)
