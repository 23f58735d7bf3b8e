"""Training the generator on folders of faces."""
