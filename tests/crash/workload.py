"""What is recorded for replays: the village's service through a horizon of windows, with calls and two restarts.

Run as ``python -m tests.crash.workload FOLDER``. In ``acknowledged`` stands a line for each call, written once its
answer was in.
"""

import hashlib
import os
import sys
from pathlib import Path

import grpc

from controller.pki import Authority
from tests.controller.village_site import Loop, Site, found

CHECKPOINT_PAGES = 40
"""Far fewer than SQLite's own 1,000, so that a short workload has many checkpoints."""


class Acknowledged(grpc.UnaryUnaryClientInterceptor):
    """Writes down which calls were answered."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def intercept_unary_unary(self, continuation, client_call_details, request):
        answer = continuation(client_call_details, request)
        if answer.code() is grpc.StatusCode.OK and hasattr(request, "request_id"):
            digest = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()
            os.write(self._file, f"{digest}\n".encode())
        return answer


class RecordedSite(Site):
    """A site whose callers write down what was acknowledged."""

    def __init__(self, folder: Path, loop: Loop) -> None:
        self._acknowledged = Acknowledged(folder / "acknowledged")
        super().__init__(folder / "gridpact.sqlite", loop, Authority())

    def dial(self, credentials: grpc.ChannelCredentials) -> grpc.Channel:
        return grpc.intercept_channel(super().dial(credentials), self._acknowledged)

    def open(self) -> None:
        super().open()
        self.database.run(
            lambda connection: connection.exec_driver_sql(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}").all()
        )


def main(folder: Path) -> None:
    """Live through the horizon."""
    loop = Loop()
    site = RecordedSite(folder, loop)
    found(site, "village")
    for number in range(4):
        for member in site.members:
            site.participant(member).SubmitOrder(site.order_request(member, number))
        site.dso.CreateEnvelope(site.envelope_request(site.envelope(f"e{number}")))
    for until in (site.start, site.start + 3600, site.end):
        site.live(until=until)
        site.restart()
    assert site.states() == ["SETTLED"] * 4
    site.close()
    loop.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
