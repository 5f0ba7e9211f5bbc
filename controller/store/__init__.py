"""Where everything is kept: SQLAlchemy over SQLite by default, any other database by URL.

``schema`` names the tables, ``database`` opens, migrates and runs transactions, ``books`` holds the statements.
"""
