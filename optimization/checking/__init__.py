"""The rules of each kind of device, checked from its power alone; no code is shared with what plans them."""
