"""Finding faces in a photo, and where and how each is replaced."""
