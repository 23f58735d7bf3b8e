"""The database: tables, queries, transactions, schema version."""
