"""Carries connections on to another server: python3 -c <this> HOST PORT. It stands where KFP's API would."""

import asyncio
import sys

PORT = 8888


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one way until it ends."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Open the way on, and copy both ways."""
    onward = await asyncio.open_connection(sys.argv[1], int(sys.argv[2]))
    await asyncio.gather(carry(reader, onward[1]), carry(onward[0], writer))


async def main() -> None:
    """Serve until killed."""
    async with await asyncio.start_server(accept, "0.0.0.0", PORT) as server:  # noqa: S104 - a pod's own address
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
