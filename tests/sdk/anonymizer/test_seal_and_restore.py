"""Sealing and restoring real photos, through files, as a user does."""

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from held_keys import VECTOR_KEY, Keys, decibel, portrait
from PIL import Image, ImageCms
from skimage.data import astronaut

from faceseal import FAST, LocalKeyring, Photo, anonymize, restore
from faceseal.anonymizer import attempts, read_sealed, restore_with_key
from faceseal.anonymizer.identity import IdentityGuard
from faceseal.anonymizer.placing import VIEW_MARGIN, masked_pixels, square_of
from faceseal.anonymizer.sealed import encode_png
from faceseal.envelope.header import encode_header
from faceseal.envelope.png import embed, extract
from faceseal.errors import (
    FaceTooAlike,
    FidelityTooLow,
    NoFaceFound,
    NotSealed,
    PhotoError,
    SealedFileError,
)
from faceseal.faces.detector import detect_faces
from faceseal.faces.lips import find_lips
from faceseal.imagekey import ImageKey
from faceseal.perceptual import perceptual_hash

VECTORS = Path(__file__).parents[2] / "vectors"


def test_a_restored_photo_is_bit_exact(tmp_path, keys, sealed):
    sealed.save(tmp_path / "sealed.png")
    restored = restore(tmp_path / "sealed.png", keys=keys)
    restored.save(tmp_path / "restored.png")
    assert restored.exact
    assert restored.fidelity == float("inf")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "restored.png")), portrait())


def test_the_face_changes_and_nothing_else_does(sealed):
    face = sealed.header.faces[0]
    changed = np.argwhere((sealed.pixels != portrait()).any(axis=2))
    assert len(changed) > 2000
    assert changed.min(axis=0).tolist() >= [face.y, face.x]
    assert (changed.max(axis=0) < [face.y + face.side, face.x + face.side]).all()


def test_any_viewer_shows_the_sealed_photo(sealed):
    with Image.open(io.BytesIO(sealed.content)) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), sealed.pixels)


def test_pixels_alone_restore_to_the_fidelity_that_the_file_states(keys, sealed):
    restored = restore(sealed, keys=keys, from_pixels=True)
    inside = (restored.pixels != sealed.pixels).any(axis=2)
    assert not restored.exact
    assert restored.fidelity == sealed.header.fidelity >= 28
    assert decibel(portrait()[inside], restored.pixels[inside]) > 28


def test_a_photo_without_a_capsule_says_that_it_is_not_exact(keys, bare):
    restored = restore(bare.content, keys=keys)
    assert not restored.exact
    assert restored.fidelity == bare.header.fidelity


def test_the_key_is_bound_to_the_digest_of_the_sealed_pixels(keys, sealed):
    assert keys.bound[sealed.key_id] == sealed.header.pixel_digest


def test_the_key_is_bound_to_what_the_sealed_photo_looks_like_and_not_the_original(keys, sealed):
    assert keys.hashes[sealed.key_id] == perceptual_hash(sealed.pixels)


def test_stripped_metadata_is_made_up_for_by_the_header_in_a_file_of_its_own(keys, sealed):
    stripped = encode_png(sealed.pixels)
    with pytest.raises(NotSealed, match="metadata was stripped"):
        restore(stripped, keys=keys)
    restored = restore(stripped, keys=keys, header=sealed.header_bytes)
    assert not restored.exact
    assert restored.fidelity == sealed.header.fidelity
    assert decibel(portrait(), restored.pixels) > 38


def test_a_recompressed_copy_with_its_header_still_brings_a_likeness_back(keys, sealed):
    buffer = io.BytesIO()
    Image.fromarray(sealed.pixels).save(buffer, "JPEG", quality=90)
    restored = restore(buffer.getvalue(), keys=keys, header=sealed.header_bytes)
    changed = (sealed.pixels != portrait()).any(axis=2)
    assert (
        decibel(portrait()[changed], restored.pixels[changed])
        > decibel(portrait()[changed], sealed.pixels[changed]) + 3
    )
    assert math.isnan(restored.fidelity)


def test_a_grey_photo_comes_back_grey(tmp_path, keys):
    grey = np.asarray(Image.fromarray(portrait()).convert("L"))
    Image.fromarray(grey).save(tmp_path / "grey.png")
    sealed = anonymize(tmp_path / "grey.png", keys=keys, profile=FAST)
    restored = restore(sealed, keys=keys)
    restored.save(tmp_path / "restored.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "restored.png")), grey)
    alone = restore(sealed, keys=keys, from_pixels=True)
    assert (alone.pixels[..., 0] == alone.pixels[..., 2]).all()


def test_colours_keep_their_meaning_and_other_metadata_is_left_behind(tmp_path, keys):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    exif = Image.Exif()
    exif[0x010F] = "camera maker"
    Image.fromarray(portrait()).save(tmp_path / "photo.jpg", quality=95, icc_profile=profile, exif=exif)
    anonymize(tmp_path / "photo.jpg", keys=keys, profile=FAST).save(tmp_path / "sealed.png")
    restore(tmp_path / "sealed.png", keys=keys).save(tmp_path / "restored.png")
    for name in ("sealed.png", "restored.png"):
        with Image.open(tmp_path / name) as image:
            assert image.info["icc_profile"] == profile
            assert not image.getexif()


def test_two_faces_whose_squares_meet_are_both_restored(keys):
    left, right = astronaut()[40:200, 168:268], astronaut()[40:200, 168:268][:, ::-1]
    both = np.pad(np.concatenate([left, right], axis=1), ((20, 20), (20, 20), (0, 0)), mode="edge")
    sealed = anonymize(Photo(both), keys=keys, profile=FAST)
    assert len(sealed.header.faces) == 2
    first, second = (masked_pixels(face, both) for face in sealed.header.faces)
    assert not (first & second).any()
    assert np.array_equal(restore(sealed, keys=keys).pixels, both)
    alone = restore(sealed, keys=keys, from_pixels=True).pixels
    for face, mask in zip(sealed.header.faces, (first, second), strict=True):
        # Nothing of the one's error reaches the other: each comes back as when it was tested alone.
        assert face.fidelity <= decibel(both[mask], alone[mask]) < face.fidelity + 1


def test_a_face_at_the_photos_edge_is_restored(keys):
    cut = astronaut()[30:286, 190:446]
    sealed = anonymize(Photo(cut), keys=keys, profile=FAST)
    face = sealed.header.faces[0]
    assert face.x < 0
    assert np.array_equal(restore(sealed, keys=keys).pixels, cut)
    alone = restore(sealed, keys=keys, from_pixels=True)
    assert decibel(cut, alone.pixels) > 32


def test_the_published_keyed_map_works_too(keys):
    sealed = anonymize(Photo(portrait()), keys=keys, profile=FAST, keyed_map="signflip", capsule=False)
    assert sealed.header.keyed_map_name == "signflip"
    assert decibel(portrait(), restore(sealed, keys=keys).pixels) > 36


def test_a_keyring_does_instead_of_a_server(tmp_path):
    keyring = LocalKeyring(tmp_path / "keys.json", "a passphrase")
    anonymize(Photo(portrait()), keys=keyring, profile=FAST).save(tmp_path / "sealed.png")
    again = LocalKeyring(tmp_path / "keys.json", "a passphrase")
    assert np.array_equal(restore(tmp_path / "sealed.png", keys=again).pixels, portrait())


def test_no_face_is_a_clear_result_and_costs_no_key():
    keys = Keys()
    with pytest.raises(NoFaceFound, match="no face"):
        anonymize(Photo(np.full((128, 128, 3), 200, np.uint8)), keys=keys)
    assert not keys.held


def test_an_unreachable_fidelity_fails_clearly(keys):
    demanding = replace(FAST, least_fidelity=90.0, attempts=2)
    with pytest.raises(FidelityTooLow, match="try another profile"):
        anonymize(Photo(portrait()), keys=keys, profile=demanding)


def guard_that_sees(*likenesses: float, most_alike: float = 0.3) -> tuple[IdentityGuard, list[np.ndarray]]:
    """A guard whose network gives these scores in turn, and what it was shown of the new faces."""
    scores, shown = iter(likenesses), []

    def likeness(original: np.ndarray, made: np.ndarray, landmarks: np.ndarray) -> float:
        assert landmarks.shape == (5, 2)
        assert original.shape == made.shape
        shown.append(made)
        return next(scores)

    return IdentityGuard(likeness, most_alike), shown


def test_a_face_that_is_too_much_like_its_origin_is_made_again_with_another_nonce(keys):
    guard, shown = guard_that_sees(0.9, 0.1)
    sealed = anonymize(Photo(portrait()), keys=keys, profile=replace(FAST, draws=1, finished=1), guard=guard)
    assert sealed.attempts == (2,)
    assert not np.array_equal(shown[0], shown[1])
    record = sealed.header.faces[0]
    assert np.array_equal(square_of(record).crop(sealed.pixels, VIEW_MARGIN * record.cell), shown[1])
    assert decibel(restore(sealed, keys=keys, from_pixels=True).pixels, portrait()) > 30


def test_a_face_that_stays_alike_is_not_handed_out(keys, monkeypatch):
    monkeypatch.setattr(attempts, "MOST_ROUNDS", 2)
    guard, shown = guard_that_sees(0.9, 0.8)
    with pytest.raises(FaceTooAlike, match=r"0\.80 like its origin.*0\.30"):
        anonymize(Photo(portrait()), keys=keys, profile=replace(FAST, draws=1, finished=1), guard=guard)
    assert len(shown) == 2


def test_an_unknown_keyed_map_is_named(keys):
    with pytest.raises(PhotoError, match="signflip, rotation"):
        anonymize(Photo(portrait()), keys=keys, keyed_map="xor")


# What an attacker or an accident does to a sealed file.


def resized(pixels: np.ndarray, width: int, height: int) -> bytes:
    return encode_png(np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)))


@pytest.mark.parametrize("size", [(512, 512), (230, 231), (64, 64), (1024, 1024)])
def test_a_resized_copy_with_its_header_is_brought_back_to_its_size_and_not_called_exact(keys, sealed, size):
    content = resized(sealed.pixels, *size)
    assert not read_sealed(content, header=sealed.header_bytes).intact
    restored = restore(content, keys=keys, header=sealed.header_bytes)
    assert restored.pixels.shape == portrait().shape
    assert not restored.exact
    assert math.isnan(restored.fidelity)


def test_a_copy_of_twice_the_size_comes_back_as_a_likeness(keys, sealed):
    restored = restore(resized(sealed.pixels, 512, 512), keys=keys, header=sealed.header_bytes)
    inside = (restored.pixels != sealed.pixels).any(axis=2)
    assert decibel(portrait()[inside], restored.pixels[inside]) > decibel(portrait()[inside], sealed.pixels[inside]) + 6


@pytest.mark.parametrize("size", [(1025, 1025), (256, 128), (200, 204)])
def test_a_copy_of_another_shape_or_far_larger_is_reported(sealed, size):
    with pytest.raises(SealedFileError, match="bring it back to that size first"):
        read_sealed(resized(sealed.pixels, *size), header=sealed.header_bytes)


def test_a_header_of_a_far_larger_photo_is_reported(sealed):
    header = encode_header(replace(sealed.header, width=1025, height=1025), ImageKey(sealed.key_id, bytes(32)))
    with pytest.raises(SealedFileError, match="bring it back to that size first"):
        read_sealed(encode_png(sealed.pixels), header=header)


def test_a_file_that_was_sealed_before_is_restored_from_its_pixels():
    """Solver, guidance, keyed map, keystreams and weights mean what they meant.

    Made with ``anonymize(Photo(portrait()), profile=FAST, capsule=False)`` under `VECTOR_KEY`.
    New weights or another map need a new one, and break files that exist.
    """
    content = read_sealed((VECTORS / "portrait.sealed.png").read_bytes())
    restored = restore_with_key(content, VECTOR_KEY)
    inside = masked_pixels(content.header.faces[0], portrait())
    assert not restored.exact
    assert decibel(portrait()[inside], restored.pixels[inside]) > content.header.fidelity - 1
    assert np.array_equal(portrait()[~inside], restored.pixels[~inside])


def test_no_header_makes_a_photo_larger_than_any_that_is_read(sealed, monkeypatch):
    header = encode_header(replace(sealed.header, width=512, height=512), ImageKey(sealed.key_id, bytes(32)))
    monkeypatch.setattr("faceseal.anonymizer.sealed.MAXIMUM_PIXELS", 512 * 512)
    assert read_sealed(sealed.content, header=header).pixels.shape == (512, 512, 3)
    monkeypatch.setattr("faceseal.anonymizer.sealed.MAXIMUM_PIXELS", 512 * 512 - 1)
    with pytest.raises(SealedFileError, match="bring it back"):
        read_sealed(sealed.content, header=header)


def test_the_header_names_the_landmarks_of_the_face_that_was_there(sealed):
    (face,), (found,) = sealed.header.faces, detect_faces(portrait())
    points = np.concatenate([found.landmarks, find_lips(portrait(), found.landmarks)])
    assert np.abs(face.landmarks * face.cell + [face.x, face.y] - points).max() <= face.cell / 16 + 1e-6


def test_the_squares_rim_stays_as_it_is_where_the_photo_goes_on(sealed):
    (face,) = sealed.header.faces
    rim = square_of(face).rim(256, 256)
    assert rim.any()
    assert not (face.mask & rim).any()


def test_a_resized_copy_with_its_own_header_is_reported(sealed):
    chunks = extract(sealed.content)
    with pytest.raises(SealedFileError, match="230x230 px, its header says 256x256"):
        read_sealed(embed(resized(sealed.pixels, 230, 230), chunks.header, chunks.capsule))
