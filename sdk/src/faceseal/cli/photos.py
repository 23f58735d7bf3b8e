"""faceseal anonymize, restore, inspect and verify: what is done to one photo."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from faceseal.cli.console import KeyringPath, LogKey, ServerUrl, TokenFile, key_source, print_fields
from faceseal.cli.options import Device, ModelPath
from faceseal.cli.purpose import BreakGlassFor, Purpose, Reference, released
from faceseal.client.receipt import receipt_path, stored_receipt
from faceseal.errors import PhotoError, PixelsAltered
from faceseal.profiles import DEFAULT, profile_named

if TYPE_CHECKING:
    from faceseal.anonymizer import Restored
    from faceseal.anonymizer.identity import IdentityGuard
    from faceseal.model import Model

PhotoPath = Annotated[
    Path, typer.Argument(metavar="PHOTO", help="A JPEG, PNG, WebP, TIFF or BMP photo, 8-bit RGB or grey.")
]
SealedPath = Annotated[Path, typer.Argument(metavar="SEALED", help="A photo sealed by faceseal.")]
OutputPath = Annotated[Path, typer.Argument(metavar="OUTPUT", help="The PNG file to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace OUTPUT if it exists.")]
HeaderPath = Annotated[
    Path | None,
    typer.Option("--header", metavar="PATH", help="Header kept in a file of its own, for a photo that lost it."),
]


def anonymize(
    photo: PhotoPath,
    output: OutputPath,
    server: ServerUrl = None,
    token_file: TokenFile = None,
    keyring: KeyringPath = None,
    profile: Annotated[str, typer.Option(help="fast, default or best.")] = DEFAULT.name,
    keyed_map: Annotated[str, typer.Option(help="rotation, or signflip as published.")] = "rotation",
    capsule: Annotated[bool, typer.Option(help="Carry the original faces, encrypted, in the file.")] = True,
    header: Annotated[
        Path | None, typer.Option("--header", metavar="PATH", help="Write the header to a file of its own as well.")
    ] = None,
    recognizer: Annotated[
        Path | None,
        typer.Option(metavar="ONNX", help="Recognition network: a face that it takes for its origin is made again."),
    ] = None,
    most_alike: Annotated[
        float, typer.Option(min=-1.0, max=1.0, metavar="COSINE", help="Most that --recognizer may find it alike.")
    ] = 0.15,
    model: ModelPath = None,
    device: Device = "cpu",
    overwrite: Overwrite = False,
) -> None:
    """Replace every face of a photo by another one, so that only its key brings them back."""
    from faceseal import anonymizer
    from faceseal.photo import read_photo, write_atomically

    _check_output(output, overwrite)
    if header is not None:
        _check_output(header, overwrite)
        if header.resolve() == output.resolve():
            raise PhotoError(f"{output} cannot be both the photo and its header; choose two names")
    chosen, picture = profile_named(profile), read_photo(photo)
    guard = None if recognizer is None else _guard(recognizer, most_alike)
    weights = _model(model, device)
    with key_source(server, token_file, None, keyring) as keys:
        sealed = anonymizer.anonymize(
            picture,
            keys=keys,
            profile=chosen,
            model=weights,
            capsule=capsule,
            keyed_map=keyed_map,
            guard=guard,
            progress=_say,
        )
    sealed.save(output)
    if header is not None:
        write_atomically(header, sealed.header_bytes)
    count = len(sealed.header.faces)
    print_fields(
        (
            ("sealed", str(output)),
            ("faces", str(count)),
            ("key", str(sealed.key_id)),
            ("rounds of faces drawn", " ".join(map(str, sealed.attempts))),
            ("from pixels alone", f"{sealed.header.fidelity} dB in the mask" + (", at worst" if count > 1 else "")),
        )
    )


def restore(
    sealed: SealedPath,
    output: OutputPath,
    server: ServerUrl = None,
    token_file: TokenFile = None,
    log_key: LogKey = None,
    keyring: KeyringPath = None,
    grant: Annotated[str | None, typer.Option("--grant", metavar="GRANT", help="The grant's id, or its token.")] = None,
    header: HeaderPath = None,
    from_pixels: Annotated[bool, typer.Option("--from-pixels", help="Do without the capsule.")] = False,
    refine: Annotated[
        int, typer.Option(min=0, max=10_000, help="Iterations of decoder inversion, for some pretrained models.")
    ] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Go on with a wrong key or altered pixels: shows a plausible wrong face.")
    ] = False,
    key_id: Annotated[
        UUID | None, typer.Option("--key", metavar="KEY", help="Another key than the photo names; needs --force.")
    ] = None,
    break_glass: BreakGlassFor = None,
    reference: Reference = None,
    purpose: Purpose = None,
    model: ModelPath = None,
    device: Device = "cpu",
    overwrite: Overwrite = False,
) -> None:
    """Bring the original faces back, if the key is released to you.

    What proves that a key server has recorded the release is written to OUTPUT.receipt.json.
    """
    from faceseal import anonymizer
    from faceseal.photo import write_atomically

    _check_output(output, overwrite)
    receipt_file = receipt_path(output)
    if server is not None:
        _check_output(receipt_file, overwrite)
    if key_id is not None and not force:
        raise PhotoError("--key names another key than the photo does; add --force to see what it shows")
    weights = _model(model, device)
    content = anonymizer.read_sealed(_read(sealed), sealed.name, None if header is None else _read(header))
    anonymizer.check_before_release(content, model=weights, from_pixels=from_pixels, force=force, refine=refine)
    with key_source(server, token_file, log_key, keyring) as keys:
        key = released(keys, key_id or content.header.key_id, grant, break_glass, reference, purpose)
        receipt = anonymizer.receipt_of(keys)
    if receipt is not None:
        # Also if restoring fails after this: the release is on record, and a use of the grant is spent.
        write_atomically(receipt_file, stored_receipt(receipt))
    restored = anonymizer.restore_with_key(
        content, key, model=weights, from_pixels=from_pixels, force=force, refine=refine, progress=_say
    )
    restored.save(output)
    print_fields(
        [
            ("restored", str(output)),
            ("how", _how(restored)),
            ("key", str(restored.key_id)),
            *([] if receipt is None else [("receipt", str(receipt_file))]),
        ]
    )


def inspect(
    sealed: SealedPath,
    header: HeaderPath = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """What a sealed photo says about itself; needs no key."""
    from faceseal.anonymizer import read_sealed

    content = read_sealed(_read(sealed), sealed.name, None if header is None else _read(header))
    about = content.header
    fields: dict[str, object] = {
        "key": str(about.key_id),
        "model": about.model_digest.hex(),
        "keyed_map": about.keyed_map_name,
        "solver": f"{about.solver.steps} steps from {about.solver.start:g}",
        "guidance": str(about.guidance),
        "width": about.width,
        "height": about.height,
        "grayscale": about.grayscale,
        "capsule_bytes": len(content.capsule or b""),
        "pixels_intact": content.intact,
        "fidelity_db": about.fidelity,
        "faces": [{"x": f.x, "y": f.y, "side": f.side, "fidelity_db": f.fidelity} for f in about.faces],
    }
    if as_json:
        typer.echo(json.dumps(fields, indent=2))
        return
    faces = "; ".join(f"{f.side} px at ({f.x}, {f.y}), {f.fidelity} dB" for f in about.faces)
    print_fields([(name, str(value)) for name, value in (fields | {"faces": faces}).items()])


def verify(
    sealed: SealedPath,
    server: ServerUrl = None,
    token_file: TokenFile = None,
    log_key: LogKey = None,
    keyring: KeyringPath = None,
    grant: Annotated[str | None, typer.Option("--grant", metavar="GRANT", help="The grant's id, or its token.")] = None,
) -> None:
    """Check that a sealed photo is untouched: its structure and pixels, and with a key source all of it."""
    from faceseal import anonymizer

    content = anonymizer.read_sealed(_read(sealed), sealed.name)
    if server is None and keyring is None:
        if not content.intact:
            raise PixelsAltered(f"{sealed.name}: the pixels are not those that its header names")
        typer.echo("structure and pixels fit the header; whether the header is genuine takes the key")
        return
    with key_source(server, token_file, log_key, keyring) as keys:
        key = keys.release(content.header.key_id, grant)
    anonymizer.verify(content, key)
    typer.echo("untouched: header, pixels and capsule are as they were sealed")


def _how(restored: Restored) -> str:
    if restored.exact:
        return "exactly, from the capsule"
    if math.isnan(restored.fidelity):
        return "from altered or unchecked pixels, nobody knows how well"
    return f"from the pixels, to {restored.fidelity:.0f} dB in the mask as measured when sealed"


def _guard(recognizer: Path, most_alike: float) -> IdentityGuard:
    from faceseal.evaluation.recognition import OnnxSource, guard_with

    source = OnnxSource(recognizer)
    return guard_with(source.load(), source.likeness, most_alike)


def _model(path: Path | None, device: str) -> Model | None:
    """None for the packaged one on the processor, which is loaded only where it is needed."""
    if path is None and device == "cpu":
        return None
    from faceseal.anonymizer.generator import open_model
    from faceseal.weights import PACKAGED

    return open_model(path or PACKAGED, device)


def _read(path: Path) -> bytes:
    from faceseal.photo import read_file

    return read_file(path)


def _say(what: str) -> None:
    typer.echo(f"{what} ...", err=True)


def _check_output(path: Path, overwrite: bool) -> None:
    """Before work is done and a grant is used: can the result be written?"""
    if not path.parent.is_dir():
        raise PhotoError(f"there is no folder {path.parent}; create it first")
    if path.exists() and not overwrite:
        raise PhotoError(f"{path} exists; choose another name, or add --overwrite")
