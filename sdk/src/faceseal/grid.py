"""How a face square is divided, and the points that place a face in it: shared by files, faces and generator."""

GRID = 16
"""Cells along one side of a face square."""
LANDMARKS = 7
"""Right eye, left eye, nose, right and left mouth corner as seen in the image; upper and lower
lip, in the middle of their inner edge."""
