"""Where everything is kept: SQLAlchemy over SQLite by default, any other database by URL.

``schema`` names the tables and ``database`` opens, migrates and runs transactions. The statements are in ``registry``
(the community), ``market`` (windows and decisions), ``meters``, ``evidence`` (what is proven) and ``calls``.
"""
