"""Which programmes of a peer are decided on together."""

from optimization.community import Peer
from optimization.devices import Device, Programme


def chain_of(peer: Peer, device: Device) -> tuple[Device, ...]:
    """The programmes that precede and follow a device, first one first; the device alone where there are none.

    One that has begun waits for none any more.
    """
    if not isinstance(device, Programme):
        return (device,)
    programmes = {each.id: each for each in peer.devices if isinstance(each, Programme)}
    after = {each.follows: each for each in programmes.values() if each.follows is not None and each.progress is None}
    first = device
    while first.follows is not None and first.progress is None:
        first = programmes[first.follows]
    chain = [first]
    while chain[-1].id in after:
        chain.append(after[chain[-1].id])
    return tuple(chain)
