"""What a 401 asks for in `WWW-Authenticate` (RFC 9110, section 11.6.1).

Of a token it never says why it does not count.  Of a proof it does, as far as RFC 9449,
section 7.1, has words for it: everything that is checked of a proof is known to who made it.
"""

from __future__ import annotations

from keyserver.errors import ProofNeeded, Unauthenticated
from keyserver.tokens.dpop import ProofRefusal, ProofRefused
from keyserver.tokens.proofkey import ALGORITHMS

_ALGORITHMS = f'algs="{" ".join(ALGORITHMS)}"'


def challenge_for(error: Unauthenticated) -> str:
    """Both schemes (RFC 9449, section 7.2), or what is wrong with the proof."""
    if not isinstance(error, ProofNeeded):
        return f"Bearer, DPoP {_ALGORITHMS}"
    wants_nonce = isinstance(error, ProofRefused) and error.why is ProofRefusal.NONCE
    return f'DPoP error="{"use_dpop_nonce" if wants_nonce else "invalid_dpop_proof"}", {_ALGORITHMS}'
