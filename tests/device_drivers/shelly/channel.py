"""The WebSocket of a Shelly plug, as its documentation has it: calls, who may make them, and what it tells unasked."""

import asyncio
import hashlib
import json
import time

from aiohttp import WSMsgType, web

INFO = {
    "name": None,
    "id": "shellyplugs-001122334455",
    "mac": "001122334455",
    "model": "SNPL-00112EU",
    "gen": 2,
    # Of before components that come and go, of which a plug has none.
    "fw_id": "20231107-164738/1.0.8-g8192e75",
    "ver": "1.0.8",
    "app": "PlugS",
}
NONCE = 1731_660_288
NOT_ALLOWED = 401


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


class Channel:
    """What is said over the WebSockets of one plug.

    Parameters
    ----------
    plug : Plug
        Answers the calls of its switch.
    """

    def __init__(self, plug):
        self.plug = plug
        self.sockets = {}
        self.telling = set()

    def call(self, asked):
        """The answer to a frame."""
        method, params = asked["method"], asked.get("params") or {}
        if method == "Shelly.GetDeviceInfo":
            locked = {"auth_en": bool(self.plug.password), "auth_domain": INFO["id"] if self.plug.password else None}
            return {"result": INFO | locked}
        if self.plug.password and not self.knows(asked.get("auth") or {}):
            asks = {"auth_type": "digest", "nonce": NONCE, "nc": 1, "realm": INFO["id"], "algorithm": "SHA-256"}
            return {"error": {"code": NOT_ALLOWED, "message": json.dumps(asks)}}
        if method in {"Shelly.GetStatus", "Shelly.GetConfig"}:
            switch = self.plug.call(method.replace("Shelly", "Switch"), {"id": 0})["result"]
            return {"result": {"switch:0": switch, "sys": {"mac": INFO["mac"]}}}
        return self.plug.call(method, params)

    def knows(self, auth):
        """Whether a frame carries a digest of the password, of the method and the address that all frames have."""
        if auth.get("nonce") != NONCE:
            return False
        one, two = sha256(f"admin:{INFO['id']}:{self.plug.password}"), sha256("dummy_method:dummy_uri")
        right = sha256(f"{one}:{auth['nonce']}:{auth['nc']}:{auth['cnonce']}:auth:{two}")
        return auth.get("response") == right

    def tell(self, on):
        """Tell whoever asked over a WebSocket that the switch is on or off now."""
        switch = {"id": 0, "output": on, "apower": 99.7 if on else 0.0}
        for socket, name in self.sockets.items():
            params = {"ts": time.time(), "switch:0": switch}
            frame = {"src": INFO["id"], "dst": name, "method": "NotifyStatus", "params": params}
            task = asyncio.create_task(socket.send_json(frame))
            self.telling.add(task)
            task.add_done_callback(self.telling.discard)

    async def serve(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    continue
                asked = json.loads(message.data)
                # From now on it is told what happens.
                self.sockets[socket] = asked["src"]
                head = {"id": asked["id"], "src": INFO["id"], "dst": asked["src"]}
                await socket.send_json(head | self.call(asked))
        finally:
            self.sockets.pop(socket, None)
        return socket
