"""Files that were altered, and keys that are not theirs, are named for what they are."""

import math
import struct

import pytest
from held_keys import Keys, decibel, portrait
from PIL import ImageCms

from faceseal import FAST, Photo, anonymize, restore
from faceseal.anonymizer import read_sealed, restore_with_key, verify
from faceseal.anonymizer.generator import default_model
from faceseal.anonymizer.sealed import encode_png
from faceseal.envelope.png import embed, extract
from faceseal.errors import (
    CapsuleAltered,
    HeaderAltered,
    ModelMismatch,
    PixelsAltered,
    SealedFileError,
    UnknownKey,
    WrongKey,
)
from faceseal.imagekey import ImageKey
from faceseal.model import VelocityNetwork, load_model, save_model


def test_altered_pixels_are_reported(keys, sealed):
    pixels = sealed.pixels.copy()
    pixels[200, 10] ^= 1
    chunks = extract(sealed.content)
    with pytest.raises(PixelsAltered):
        restore(embed(encode_png(pixels), chunks.header, chunks.capsule), keys=keys)


def test_an_altered_header_is_reported(keys, sealed):
    chunks = extract(sealed.content)
    header = bytearray(chunks.header)
    header[-40] ^= 1
    with pytest.raises(HeaderAltered):
        restore(embed(encode_png(sealed.pixels), bytes(header), chunks.capsule), keys=keys)


def test_an_altered_capsule_is_reported_and_the_pixels_still_restore(keys, sealed):
    chunks = extract(sealed.content)
    broken = bytearray(chunks.capsule)
    broken[100] ^= 1
    content = embed(encode_png(sealed.pixels), chunks.header, bytes(broken))
    with pytest.raises(CapsuleAltered, match="--from-pixels"):
        restore(content, keys=keys)
    assert decibel(portrait(), restore(content, keys=keys, from_pixels=True).pixels) > 38


def test_a_missing_capsule_is_reported(keys, sealed):
    with pytest.raises(SealedFileError, match="capsule is missing"):
        restore(embed(encode_png(sealed.pixels), sealed.header_bytes, None), keys=keys)


def test_verifying_reports_an_altered_capsule_and_a_missing_one(keys, sealed):
    chunks, key = extract(sealed.content), keys.held[sealed.key_id]
    broken = bytearray(chunks.capsule)
    broken[100] ^= 1
    with pytest.raises(CapsuleAltered):
        verify(read_sealed(embed(encode_png(sealed.pixels), chunks.header, bytes(broken))), key)
    with pytest.raises(SealedFileError, match="capsule is missing"):
        verify(read_sealed(embed(encode_png(sealed.pixels), chunks.header, None)), key)


def test_with_a_key_at_hand_altered_pixels_are_reported_as_well(keys, sealed):
    pixels, chunks = sealed.pixels.copy(), extract(sealed.content)
    pixels[200, 10] ^= 1
    content = read_sealed(embed(encode_png(pixels), chunks.header, chunks.capsule))
    with pytest.raises(PixelsAltered):
        restore_with_key(content, keys.held[sealed.key_id])


def test_an_altered_length_field_is_reported(keys, sealed):
    content = bytearray(sealed.content)
    at = content.index(b"fsCP") - 4
    content[at : at + 4] = struct.pack(">I", 1 << 30)
    with pytest.raises(SealedFileError, match="length field"):
        restore(bytes(content), keys=keys)


def test_what_shows_without_the_key_costs_no_use_of_a_grant(tmp_path, sealed, bare):
    pixels = sealed.pixels.copy()
    pixels[200, 10] ^= 1
    save_model(tmp_path / "other.safetensors", VelocityNetwork(), default_model().klt, "other")
    other = load_model(tmp_path / "other.safetensors")
    with_capsule = extract(sealed.content).capsule
    nobody = Keys()
    with pytest.raises(PixelsAltered):
        restore(embed(encode_png(pixels), sealed.header_bytes, with_capsule), keys=nobody)
    with pytest.raises(SealedFileError, match="capsule is missing"):
        restore(embed(encode_png(sealed.pixels), sealed.header_bytes, None), keys=nobody)
    with pytest.raises(ModelMismatch):
        restore(bare, keys=nobody, model=other)


def test_an_altered_colour_profile_is_reported(keys, sealed):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    chunks = extract(sealed.content)
    with pytest.raises(PixelsAltered, match="colour profile"):
        restore(embed(encode_png(sealed.pixels, profile), chunks.header, chunks.capsule), keys=keys)


def test_a_capsule_that_the_header_does_not_name_is_refused(keys, sealed, bare):
    forged = embed(encode_png(bare.pixels), bare.header_bytes, extract(sealed.content).capsule)
    with pytest.raises(SealedFileError, match="does not name"):
        restore(forged, keys=keys)


def test_verifying_with_a_detached_header_still_checks_the_pixels(keys, bare):
    pixels = bare.pixels.copy()
    pixels[0, 0] ^= 1
    content = read_sealed(encode_png(pixels), header=bare.header_bytes)
    with pytest.raises(PixelsAltered):
        verify(content, keys.held[bare.key_id])


def test_a_capsule_of_another_photo_does_not_open(keys, sealed):
    other = anonymize(Photo(portrait()[:, ::-1].copy()), keys=keys, profile=FAST)
    swapped = embed(encode_png(sealed.pixels), sealed.header_bytes, extract(other.content).capsule)
    with pytest.raises(CapsuleAltered):
        restore(swapped, keys=keys)


def test_a_wrong_key_is_refused_and_forced_shows_somebody_else(keys, sealed):
    content = read_sealed(sealed.content)
    wrong = ImageKey(sealed.key_id, bytes(32))
    with pytest.raises(WrongKey):
        restore_with_key(content, wrong)
    forced = restore_with_key(content, wrong, force=True)
    inside = (forced.pixels != sealed.pixels).any(axis=2)
    assert not forced.exact
    assert math.isnan(forced.fidelity)
    assert decibel(portrait()[inside], forced.pixels[inside]) < 24


def test_a_key_with_one_flipped_bit_is_as_wrong_as_any(keys, sealed):
    secret = bytearray(keys.held[sealed.key_id].secret)
    secret[31] ^= 1
    with pytest.raises(WrongKey):
        verify(read_sealed(sealed.content), ImageKey(sealed.key_id, bytes(secret)))


def test_an_untouched_file_is_verified(keys, sealed):
    verify(read_sealed(sealed.content), keys.held[sealed.key_id])


def test_another_models_file_names_both_models(tmp_path, keys, bare):
    save_model(tmp_path / "other.safetensors", VelocityNetwork(), default_model().klt, "other")
    other = load_model(tmp_path / "other.safetensors")
    with pytest.raises(ModelMismatch) as caught:
        restore(bare, keys=keys, model=other)
    assert bare.header.model_digest.hex()[:16] in str(caught.value)
    assert other.digest.hex()[:16] in str(caught.value)


def test_the_capsule_needs_no_model_at_all(tmp_path, keys, sealed):
    save_model(tmp_path / "other.safetensors", VelocityNetwork(), default_model().klt, "other")
    assert restore(sealed, keys=keys, model=load_model(tmp_path / "other.safetensors")).exact


def test_an_unknown_key_is_the_key_sources_to_report(sealed):
    with pytest.raises(UnknownKey):
        restore(sealed, keys=Keys())
