"""Where the audit log's checkpoints are kept outside of its database: files, witnesses, S3 objects.

A sink that holds a newer checkpoint than the log, or one of another tree, shows that the
database was put back or rewritten.
"""
