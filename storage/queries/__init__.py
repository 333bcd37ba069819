"""The statements on each group of tables: a .sql file of named queries beside one module of functions."""
