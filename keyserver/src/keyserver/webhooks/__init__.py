"""Webhooks on their way out: signed, sent to addresses that are allowed, tried again until they arrive.

Messages are written by `keyserver.service.events` in the transaction of the change, and taken
from there by a worker, `keyserver webhook deliver`.  The server itself sends nothing.
"""
