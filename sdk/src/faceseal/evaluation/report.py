"""What a measurement leaves behind: a table in words, a CSV file, a contact sheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from PIL import Image

from faceseal.evaluation.measure import Measured, Pixels, Row


def summary(rows: Sequence[Row]) -> list[str]:
    """Plain lines with the figures that count."""
    sealed = [row for row in rows if row.outcome == "sealed"]
    lines = [f"photos                                {len(rows)}, of which sealed {len(sealed)}"]
    for outcome in sorted({row.outcome for row in rows} - {"sealed"}):
        lines.append(f"  not sealed ({outcome})  {sum(row.outcome == outcome for row in rows)}")
    if not sealed:
        return lines
    column = {
        name: np.array([getattr(row, name) for row in sealed], dtype=float)
        for name in Row.__annotations__
        if name not in ("identity", "outcome")
    }
    psnr = column["psnr"]
    return [
        *lines,
        f"restored bit-exact from the capsule    {column['exact'].mean():.1%}",
        f"restored from 8-bit pixels, in mask    median {np.median(psnr):.1f} dB, "
        f"5th percentile {np.percentile(psnr, 5):.1f} dB, least {psnr.min():.1f} dB",
        f"anonymized face found by the detector  {column['detected'].mean():.1%}",
        f"landmarks moved by, in eye distances   {np.nanmean(column['landmark_error']):.3f}",
        "recognition, mean cosine with the original face:",
        f"  other photo of the same person       {np.nanmean(column['cosine_pair']):.3f}",
        f"  anonymized                           {column['cosine_anonymized'].mean():.3f}",
        f"  restored from 8-bit pixels           {column['cosine_restored'].mean():.3f}",
        f"  restored with a wrong key            {column['cosine_wrong_key'].mean():.3f}",
        f"seconds to seal a photo                median {np.median(column['seconds']):.2f}",
    ]


def as_csv(rows: Sequence[Row]) -> bytes:
    """One line per photo."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(Row.__annotations__))
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return buffer.getvalue().encode()


def contact_sheet(measured: Sequence[Measured], columns: int = 4) -> Pixels:
    """Original, anonymized, restored from pixels, wrong key: `columns` people per row of the sheet."""
    people = [item.pictures for item in measured if item.row.outcome == "sealed"]
    side = 160
    strips = [
        np.concatenate(
            [np.asarray(Image.fromarray(p).resize((side, side), Image.Resampling.LANCZOS)) for p in four], axis=1
        )
        for four in people
    ]
    blank = np.full((side, 4 * side, 3), 255, dtype=np.uint8)
    strips += [blank] * (-len(strips) % columns)
    rows = [np.concatenate(strips[i : i + columns], axis=1) for i in range(0, len(strips), columns)]
    return np.concatenate(rows, axis=0) if rows else blank
