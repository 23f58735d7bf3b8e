"""A small witness of transparency logs (https://c2sp.org/tlog-witness): `keyserver witness`.

It knows nothing of key servers: it cosigns checkpoints of any log whose key it was given.
"""
