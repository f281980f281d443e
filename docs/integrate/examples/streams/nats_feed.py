"""From a NATS JetStream stream: a message is acknowledged after Postmeter has answered for it."""

import asyncio
import os

import nats
from nats.errors import TimeoutError as Quiet
from nats.js.api import ConsumerConfig

from feed import record


async def main() -> None:
    client = await nats.connect(os.environ["NATS_URL"])
    stream = client.jetstream()
    # what is not acknowledged within ack_wait comes again: also to another process, after a crash
    config = ConsumerConfig(ack_wait=float(os.environ.get("ACK_WAIT", "120")), max_ack_pending=5000)
    consumer = await stream.pull_subscribe(os.environ["NATS_SUBJECT"], durable="postmeter", config=config)
    while True:
        try:
            messages = await consumer.fetch(500, timeout=1)
        except Quiet:
            continue
        await asyncio.to_thread(record, [message.data for message in messages])
        for message in messages:
            await message.ack()


asyncio.run(main())
