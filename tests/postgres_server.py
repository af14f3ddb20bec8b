"""A private PostgreSQL for tests: on a socket of its own, durable as in production, gone at the end.

Import the fixture into the `conftest.py` of a folder that needs it: `from tests.postgres_server import postgres_url`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest

USERS = ("postgres", "nobody")
OPTIONS = "-c listen_addresses='' -c max_connections=260 -c shared_buffers=32MB -c fsync=on -c synchronous_commit=on"


class PrivateServer:
    """A server in a temporary folder; root starts it as another user, because PostgreSQL refuses to run as root.

    Args:
        binaries: the folder of `initdb` and `pg_ctl`.
        folder: empty; short, because a socket's path must not exceed about 100 bytes.
    """

    def __init__(self, binaries: Path, folder: Path) -> None:
        self.binaries = binaries
        self.folder = folder
        self.user = _owner()
        if self.user is not None:
            os.chown(folder, self.user.pw_uid, self.user.pw_gid)
        name = self.user.pw_name if self.user else pwd.getpwuid(os.getuid()).pw_name
        self.role = name
        self._run("initdb", "--pgdata", str(folder / "data"), "--auth=trust", "--encoding=UTF8", "--no-locale")

    @property
    def url(self) -> str:
        return f"postgresql://{self.role}@/postgres?host={self.folder}"

    def start(self) -> None:
        self._ctl("start", "-w", "-o", f"{OPTIONS} -k {self.folder}", "-l", str(self.folder / "log"))

    def stop(self, *, mode: str = "fast") -> None:
        """`mode="immediate"` is a crash: nothing is flushed, the next start recovers from the write-ahead log."""
        self._ctl("stop", "-w", "-m", mode)

    def create(self) -> str:
        """The URL of a new empty schema: much cheaper than a database, and nobody else sees its tables."""
        import psycopg

        name = f"s{uuid4().hex[:12]}"
        with psycopg.connect(self.url) as connection:
            connection.execute(f"CREATE SCHEMA {name}")  # type: ignore[arg-type]
        return f"{self.url}&options=-csearch_path%3D{name}"

    def _ctl(self, verb: str, *arguments: str) -> None:
        self._run("pg_ctl", verb, "--pgdata", str(self.folder / "data"), *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.binaries / program), *arguments]
        identity = (
            {} if self.user is None else {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        )
        # A pipe would be inherited by the server and never close.
        with (self.folder.parent / f"{self.folder.name}.out").open("w+") as out:
            done = subprocess.run(command, stdout=out, stderr=out, cwd="/", check=False, **identity)  # type: ignore[call-overload]
            if done.returncode:
                out.seek(0)
                raise RuntimeError(f"{program} failed: {out.read()}")


def _owner() -> pwd.struct_passwd | None:
    """The user to run as: None is ourselves."""
    if os.getuid() != 0:
        return None
    for name in USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None


def _binaries() -> Path | None:
    found = shutil.which("initdb")
    if found and shutil.which("pg_ctl"):
        return Path(found).resolve().parent
    versions: Sequence[Path] = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return versions[-1].parent if versions else None


@contextlib.contextmanager
def private_server() -> Iterator[PrivateServer]:
    """A running server.

    Raises:
        LookupError: what is missing on this machine.
    """
    if importlib.util.find_spec("psycopg") is None:
        raise LookupError("psycopg is not installed")
    binaries = _binaries()
    if binaries is None:
        raise LookupError("no PostgreSQL on this machine (initdb and pg_ctl)")
    if os.getuid() == 0 and _owner() is None:
        raise LookupError(f"PostgreSQL refuses to run as root, and there is no user {' or '.join(USERS)}")
    parent = Path(tempfile.mkdtemp(prefix="pg-"))
    # The server's user must reach its folder through ours.
    parent.chmod(0o755)
    folder = parent / "s"
    folder.mkdir(mode=0o700)
    try:
        server = PrivateServer(binaries, folder)
        server.start()
        try:
            yield server
        finally:
            server.stop(mode="immediate")
    finally:
        shutil.rmtree(parent, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PrivateServer]:
    """A private server, or a skip that says what is missing."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(private_server())
        except LookupError as error:
            pytest.skip(str(error))
        yield server


@pytest.fixture
def postgres_url(postgres_server: PrivateServer) -> str:
    """The URL of a new, empty schema."""
    return postgres_server.create()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new, empty store, once on each kind of database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.sqlite'}"
    return request.getfixturevalue("postgres_server").create()
