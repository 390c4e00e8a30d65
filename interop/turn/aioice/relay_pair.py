"""Two ICE agents of aioice in one process, which may use relays of a TURN server only, and what goes between them.

    relay_pair.py --server HOST:PORT --transport udp|tcp|tls --username U --password P --messages N

Prints one line of JSON. TLS trusts whom SSL_CERT_FILE names, as Python has it.
"""

import argparse
import asyncio
import json

from aioice import Connection, TransportPolicy

# More would not fit into one datagram of Ethernet, and aioice does not split.
SIZES = (1, 20, 172, 1200)


def agent(arguments: argparse.Namespace, controlling: bool) -> Connection:
    host, port = arguments.server.rsplit(":", 1)
    return Connection(
        ice_controlling=controlling,
        turn_server=(host, int(port)),
        turn_username=arguments.username,
        turn_password=arguments.password,
        turn_ssl=arguments.transport == "tls",
        turn_transport="udp" if arguments.transport == "udp" else "tcp",
        transport_policy=TransportPolicy.RELAY,
    )


async def introduce(one: Connection, other: Connection) -> None:
    """Tells `other` what there is to know of `one`."""
    for candidate in one.local_candidates:
        await other.add_remote_candidate(candidate)
    await other.add_remote_candidate(None)
    other.remote_username = one.local_username
    other.remote_password = one.local_password


async def count_intact(sender: Connection, receiver: Connection, messages: int) -> int:
    """Sends messages one after the other and gives how many came as they were."""
    intact = 0
    for number in range(messages):
        message = bytes([number % 256]) * SIZES[number % len(SIZES)]
        await sender.send(message)
        intact += await asyncio.wait_for(receiver.recv(), 5) == message
    return intact


async def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("server", "transport", "username", "password"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--messages", type=int, required=True)
    arguments = parser.parse_args()
    caller, callee = agent(arguments, True), agent(arguments, False)
    try:
        await asyncio.gather(caller.gather_candidates(), callee.gather_candidates())
        await asyncio.gather(introduce(caller, callee), introduce(callee, caller))
        await asyncio.gather(caller.connect(), callee.connect())
        report = {
            "candidates": [c.type for c in caller.local_candidates + callee.local_candidates],
            "there": await count_intact(caller, callee, arguments.messages),
            "back": await count_intact(callee, caller, arguments.messages),
        }
    finally:
        await asyncio.gather(caller.close(), callee.close())
    print(json.dumps(report))


asyncio.run(main())
