import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import astronaut

from faceseal.anonymizer.generator import default_model
from faceseal.grid import GRID
from faceseal.latent import COMPONENTS, KLT, PATCH, resize_blocks, resize_matrix


@pytest.fixture(scope="module")
def klt():
    image = astronaut().astype(float)
    blocks = image.reshape(64, 8, 64, 8, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 192)
    return KLT.from_moments(blocks.mean(axis=0), np.cov(blocks.T))


@pytest.mark.parametrize("cell", [8, 9, 10, 13, 16, 27, 32, 64, 128])
def test_a_patch_comes_back_from_any_cell_that_is_at_least_as_large(cell):
    patches = np.random.default_rng(cell).uniform(0, 255, (50, PATCH, PATCH, 3))
    assert np.abs(resize_blocks(resize_blocks(patches, cell), PATCH) - patches).max() < 1e-5


@pytest.mark.parametrize("cell", [3, 4, 5, 6, 7])
def test_a_small_cell_comes_back_from_a_patch(cell):
    cells = np.random.default_rng(cell).uniform(0, 255, (50, cell, cell, 3))
    assert np.abs(resize_blocks(resize_blocks(cells, PATCH), cell) - cells).max() < 1e-5


@given(source=st.integers(1, 64), target=st.integers(1, 64), level=st.floats(0, 255))
def test_resizing_keeps_grey_levels(source, target, level):
    assert np.allclose(resize_matrix(source, target) @ np.full(source, level), level, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(cell=st.integers(3, 64), seed=st.integers(0, 2**32 - 1))
def test_encoding_a_decoded_latent_returns_what_the_cell_carries(klt, cell, seed):
    codec = klt.codec(cell)
    state = np.random.default_rng(seed).normal(size=(2, codec.rank, GRID, GRID))
    latent = np.einsum("ij,bjyx->biyx", codec.subspace, state)
    assert np.abs(codec.encode(codec.decode(latent)) - latent).max() < 1e-5


@pytest.mark.parametrize("cell", [6, 7, 8, 16, 128])
def test_cells_of_six_pixels_and_more_carry_all_components(klt, cell):
    assert klt.codec(cell).rank == COMPONENTS


@pytest.mark.parametrize("side", [64, 112, 128, 512, 1024])
def test_changing_a_cell_of_the_latent_changes_only_its_own_pixels(klt, side):
    codec = klt.codec(side // GRID)
    latent = np.random.default_rng(0).normal(size=(1, COMPONENTS, GRID, GRID))
    before = codec.decode(latent)
    latent[:, :, 5, 9] += 1.0
    changed = np.abs(codec.decode(latent) - before).max(axis=(0, 3)) > 0
    rows, columns = np.nonzero(changed)
    cell = side // GRID
    assert rows.min() == 5 * cell
    assert rows.max() == 6 * cell - 1
    assert columns.min() == 9 * cell
    assert columns.max() == 10 * cell - 1


def test_the_basis_is_orthonormal_and_the_latent_has_unit_mean_variance(klt):
    assert np.allclose(klt.basis.T @ klt.basis, np.eye(COMPONENTS), atol=1e-10)
    square = astronaut()[:128, 160:288][None]
    assert 0.1 < klt.codec(8).encode(square).var() < 10


def test_a_face_loses_little_in_the_packaged_latent():
    square = astronaut()[64:192, 160:288][None].astype(float)
    codec = default_model().klt.codec(8)
    error = np.mean((codec.decode(codec.encode(square)) - square) ** 2)
    assert 10 * np.log10(255**2 / error) > 33


def test_a_square_of_the_wrong_size_is_refused(klt):
    with pytest.raises(ValueError, match="need 128"):
        klt.codec(8).encode(np.zeros((1, 64, 64, 3)))
