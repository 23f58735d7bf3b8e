"""Keys in memory, and the portrait that is sealed with them."""

from dataclasses import dataclass, field
from uuid import UUID, uuid4

import numpy as np
from skimage.data import astronaut

from faceseal.errors import UnknownKey
from faceseal.imagekey import ImageKey

VECTOR_KEY = ImageKey(UUID("0192f0c1-2345-7678-9abc-def012345678"), bytes(range(32)))
"""Of the fixed values in tests/vectors."""


@dataclass
class Keys:
    """Keys in memory, and what they were bound to."""

    held: dict[UUID, ImageKey] = field(default_factory=dict)
    bound: dict[UUID, bytes] = field(default_factory=dict)
    hashes: dict[UUID, bytes | None] = field(default_factory=dict)

    def create(self) -> ImageKey:
        key = ImageKey(uuid4(), uuid4().bytes + uuid4().bytes)
        self.held[key.key_id] = key
        return key

    def bind(self, key_id: UUID, sealed_digest: bytes, perceptual_hash: bytes | None = None) -> None:
        self.bound[key_id], self.hashes[key_id] = sealed_digest, perceptual_hash

    def release(self, key_id: UUID, _grant: str | None) -> ImageKey:
        if key_id not in self.held:
            raise UnknownKey(str(key_id))
        return self.held[key_id]


def portrait() -> np.ndarray:
    return astronaut()[:256, 96:352]


def decibel(one: np.ndarray, other: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2))
