"""The grid that a face square is divided into: shared by files, faces and generator."""

GRID = 16
"""Cells along one side of a face square."""
