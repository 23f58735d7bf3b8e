"""The whole database in one encrypted file: written from one moment, verified by itself, restored into nothing.

- `stream`: the encrypted file, chunk by chunk;
- `rows`: rows of tables as lines, and back;
- `saving`, `restoring`: from a database, and into one.
"""
