"""Where everything is kept: SQLAlchemy over SQLite by default, PostgreSQL by URL.

``schema`` names the tables, ``migrating`` and ``guards`` make and keep them, and ``database`` runs transactions
through the one ``writer``. The statements are in ``registry`` (the community), ``market`` (windows and decisions),
``meters``, ``evidence`` (what is proven) and ``calls``.
"""
