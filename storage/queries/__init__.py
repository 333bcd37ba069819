"""Database access by group of tables: each module of functions has a .sql file with its named queries."""
