"""A stand-in for a Shelly plug, written from the public documentation of the RPC: Switch.Set and its flip-back timer.

Usage: python -m tests.device_drivers.shelly.plug FILE PASSWORD PORT

FILE holds what its flash would, PASSWORD may be empty; says its port.
"""

import asyncio
import hashlib
import json
import re
import sys
import time
from pathlib import Path

from aiohttp import web

from tests.device_drivers.shelly.channel import Channel

REALM = "shellyplugs-001122334455"
CONFIG = {"initial_state": "restore_last", "auto_on": False, "auto_off": False, "auto_on_delay": 1.0}


class Plug:
    def __init__(self, flash, password, switched=lambda on: None):
        self.flash, self.password, self.switched = flash, password, switched
        self.config = CONFIG | (json.loads(flash.read_text()) if flash.exists() else {})
        self.closed = self.config["initial_state"] == "on"
        self.timer = None
        self.ending = None

    def set(self, closed, after_s):
        """Switch, and switch back after a while, where there is one; `switched` hears of both."""
        if self.ending is not None:
            self.ending.cancel()
        self.closed, self.timer, self.ending = closed, None, None
        self.switched(closed)
        if after_s is not None:
            self.timer = (time.monotonic(), after_s)
            self.ending = asyncio.get_running_loop().call_later(after_s, self.switched, not closed)

    def now(self):
        if self.timer is not None and time.monotonic() >= self.timer[0] + self.timer[1]:
            self.closed, self.timer = not self.closed, None
        return self.closed

    def call(self, method, params):
        if params.get("id") != 0:
            return {"error": {"code": -105, "message": f"Argument 'id', value {params.get('id')} not found!"}}
        was_on = self.now()
        if method == "Switch.Set":
            usual_s = self.config["auto_on_delay"] if self.config["auto_on"] and not params["on"] else None
            self.set(params["on"], params.get("toggle_after", usual_s))
            return {"result": {"was_on": was_on}}
        if method == "Switch.GetStatus":
            status = {"id": 0, "source": "rpc", "output": was_on, "apower": 99.7 if was_on else 0.0}
            if self.timer is not None:
                status |= {"timer_started_at": time.time(), "timer_duration": self.timer[1]}
            return {"result": status}
        if method == "Switch.GetConfig":
            return {"result": {"id": 0, **self.config}}
        if method == "Switch.SetConfig":
            self.config |= params["config"]
            self.flash.write_text(json.dumps(self.config))
            return {"result": {"restart_required": False}}
        return {"error": {"code": 404, "message": f"No handler for {method}"}}

    def knows(self, request):
        """Whether a request carries a digest (RFC 7616, SHA-256) of the password."""
        said = dict(re.findall(r'(\w+)="?([^",]+)"?', request.headers.get("Authorization", "")))
        if said.get("nonce") != "60f1":
            return False
        one, two = (
            hashlib.sha256(text.encode()).hexdigest()
            for text in (f"admin:{REALM}:{self.password}", f"{request.method}:{said['uri']}")
        )
        right = f"{one}:{said['nonce']}:{said['nc']}:{said['cnonce']}:{said['qop']}:{two}"
        return said.get("response") == hashlib.sha256(right.encode()).hexdigest()

    async def serve(self, request):
        if self.password and not self.knows(request):
            asks = f'Digest qop="auth", realm="{REALM}", nonce="60f1", algorithm=SHA-256'
            return web.Response(status=401, headers={"WWW-Authenticate": asks})
        asked = await request.json()
        return web.json_response({"id": asked["id"], "src": REALM, **self.call(asked["method"], asked["params"])})


async def serve(plug, port=0):
    """Serve a plug; returns the port."""
    channel, switched = Channel(plug), plug.switched

    def both(on):
        switched(on)
        channel.tell(on)

    plug.switched = both
    app = web.Application()
    app.router.add_post("/rpc", plug.serve)
    app.router.add_get("/rpc", channel.serve)
    runner = web.AppRunner(app, keepalive_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner.addresses[0][1]


async def main():
    print(await serve(Plug(Path(sys.argv[1]), sys.argv[2]), int(sys.argv[3])), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
