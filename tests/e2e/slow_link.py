"""A link between two network namespaces that delays and loses packets: `slow_link.py DEV PID DEV PID DELAY_S LOSS`.

For kernels without `tc netem`. It makes a TUN device for each side, gives it to the namespace of that process, and
carries IP packets between the two until it is killed; which are lost is the same each time.
"""

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
PACKET_BYTES_MAX = 65536


def device(name: str, pid: str) -> int:
    """A new TUN device within the namespace of a process."""
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH14s", name.encode(), IFF_TUN | IFF_NO_PI, b""))
    subprocess.run(["ip", "link", "set", name, "netns", pid], check=True)
    return file


def carry(one: int, other: int, delay_s: float, loss: float) -> None:
    """Until killed."""
    chance = random.Random(1)
    waiting: list[tuple[float, int, int, bytes]] = []
    number = 0
    while True:
        timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        for file in select.select([one, other], [], [], timeout)[0]:
            packet = os.read(file, PACKET_BYTES_MAX)
            if chance.random() >= loss:
                number += 1
                to = other if file == one else one
                heapq.heappush(waiting, (time.monotonic() + delay_s, number, to, packet))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, to, packet = heapq.heappop(waiting)
            os.write(to, packet)


def main() -> None:
    """See above."""
    one, one_pid, other, other_pid, delay_s, loss = sys.argv[1:]
    files = device(one, one_pid), device(other, other_pid)
    print("ready", flush=True)
    carry(*files, float(delay_s), float(loss))


if __name__ == "__main__":
    main()
