"""What a Tasmota plug with one relay and a meter tells whoever looks for devices, as its documentation has it."""

import json

MAC = "001122334455"
_SWITCHES_OFF = -1
_OPTIONS = ("4", "11", "13", "17", "20", "30", "68", "73", "82", "114", "117")


def discovery(topic):
    """Topics and retained messages of a plug of this topic."""
    config = {
        "ip": "127.0.0.1",
        "dn": "Boiler",
        "fn": ["Boiler", *[None] * 7],
        "hn": f"{topic}-1109",
        "mac": MAC,
        "md": "Plug",
        "ty": 0,
        "if": 0,
        "ofln": "Offline",
        "onln": "Online",
        "state": ["OFF", "ON", "TOGGLE", "HOLD"],
        "sw": "14.2.0",
        "t": topic,
        "ft": "%prefix%/%topic%/",
        "tp": ["cmnd", "stat", "tele"],
        "rl": [1, *[0] * 7],
        "swc": [_SWITCHES_OFF] * 8,
        "swn": [None] * 8,
        "btn": [0] * 8,
        "so": dict.fromkeys(_OPTIONS, 0),
        "lk": 0,
        "lt_st": 0,
        "sho": [0] * 4,
        "ver": 1,
    }
    sensors = {"sn": {"Time": "2026-11-22T08:00:00", "ENERGY": {"Total": 1.0, "Power": 0}}, "ver": 1}
    return [
        (f"tasmota/discovery/{MAC}/{kind}", json.dumps(told))
        for kind, told in (("config", config), ("sensors", sensors))
    ]
