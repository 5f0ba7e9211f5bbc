"""A look at a service's database from outside: one state of it, beside the service that may be writing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, make_url
from sqlalchemy.exc import SQLAlchemyError

from controller.errors import InputError, StoreError
from controller.store.engines import looking_engine
from controller.store.faults import cause, translated
from controller.store.migrating import require_newest


@contextmanager
def looking(address: str) -> Iterator[Connection]:
    """A transaction that sees one state and writes nothing.

    Parameters
    ----------
    address : SQLAlchemy URL of the database

    Raises
    ------
    InputError
        If there is no database, or not one of this version.
    StoreError
        If it cannot be read; names the URL without its password.
    """
    try:
        url = make_url(address)
        name = url.render_as_string(hide_password=True)
        if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).is_file()):
            raise InputError(f"database {name}: got no file, wanted a service's")
        engine = looking_engine(address)
    except StoreError as err:
        raise InputError(f"database {name}: cannot be opened: {str(err).removeprefix('database: ')}") from err
    except (SQLAlchemyError, ImportError, ValueError) as err:
        if isinstance(err, InputError):
            raise
        raise InputError(f"database: cannot be opened: {cause(err)}") from err
    try:
        with engine.begin() as connection:
            require_newest(connection)
            yield connection
    except SQLAlchemyError as err:
        raise translated(name, err) from err
    finally:
        engine.dispose()
