"""Measures what anonymizing and restoring reach on photos of known people, on files as users get them."""
