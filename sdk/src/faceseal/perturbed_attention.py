"""A network perturbed on purpose, and the way that leads away from it.

Where each position attends to itself alone, a face has eyes, nose and mouth that know nothing
of each other.  What the whole network does differently is what makes a face of them, and a
step that goes further in that direction makes a better one: perturbed-attention guidance
(Ahn et al., arXiv 2403.17377).  What would only add contrast is left out of it (adaptive
projected guidance, Sadat et al., arXiv 2410.02416).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0, PAGIdentitySelfAttnProcessor2_0
from torch import Tensor, nn

_halved: ContextVar[bool] = ContextVar("halved", default=False)


class _Attending:
    """Attention as usual, or in `second_half_perturbed` as usual for the first half of the batch only."""

    def __init__(self) -> None:
        self._usual: Callable[..., Tensor] = AttnProcessor2_0()
        self._halves: Callable[..., Tensor] = PAGIdentitySelfAttnProcessor2_0()

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        attend = self._halves if _halved.get() else self._usual
        return attend(attn, hidden_states, encoder_hidden_states, attention_mask, temb)


def make_perturbable(network: nn.Module) -> None:
    """Let `second_half_perturbed` act on a network of diffusers; otherwise it computes what it did."""
    for part in network.modules():
        if isinstance(part, Attention) and not isinstance(part.processor, _Attending):
            part.set_processor(_Attending())  # type: ignore[arg-type]


@contextmanager
def second_half_perturbed() -> Iterator[None]:
    """Within it, in this thread, positions of the second half of a batch attend to themselves alone."""
    token = _halved.set(True)
    try:
        yield
    finally:
        _halved.reset(token)


def guided(usual: Tensor, perturbed: Tensor, state: Tensor, time: float, strength: float) -> Tensor:
    """The velocity that goes `strength` times as far from the perturbed one as the usual one does.

    All are (B, C, L, L), zero outside the mask.  The part of the difference that is parallel to
    the picture that the network expects, ``state - time * usual``, would only stretch it, and is
    left out.
    """
    away, expected = usual - perturbed, state - time * usual
    size = expected.square().sum(dim=(1, 2, 3), keepdim=True) + torch.finfo(expected.dtype).tiny
    parallel = (away * expected).sum(dim=(1, 2, 3), keepdim=True) / size * expected
    return usual + (strength - 1) * (away - parallel)
