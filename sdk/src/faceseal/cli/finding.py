"""faceseal find: which key a photo was sealed with, when it no longer says so itself."""

from __future__ import annotations

import typer

from faceseal import wire
from faceseal.cli.console import AsJson, ServerUrl, TokenFile, open_server, print_table, utc
from faceseal.cli.photos import PhotoPath


def find(photo: PhotoPath, server: ServerUrl = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """The keys that a photo may be sealed with: by its exact pixels, else by what it looks like."""
    from faceseal.envelope.header import pixel_digest
    from faceseal.perceptual import perceptual_hash
    from faceseal.photo import read_photo

    picture = read_photo(photo)
    with open_server(server, token_file, None) as source:
        matches = source.look_up(sealed_digest=pixel_digest(picture.pixels, picture.color_profile))
        if not matches:
            matches = source.look_up(perceptual_hash=perceptual_hash(picture.pixels))
    if as_json:
        typer.echo(wire.KeyMatches(matches=matches).model_dump_json(indent=2))
        return
    if not matches:
        typer.echo("the key server knows no photo that looks like this one")
        return
    print_table(
        ("KEY", "BITS OFF", "STATE", "CREATED", "BY"),
        (
            (str(one.key.id), str(one.distance), one.key.state.value, utc(one.key.created_at), one.key.created_by)
            for one in matches
        ),
    )
