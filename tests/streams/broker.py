"""The other end of the streams of docs/integrate/streams.md: reads commands, a line each, and answers each with a line.

`publish FILE` sends its lines; `done` says how many messages the consumer has taken for good.
`broker.py nats URL SUBJECT` talks to a server; `broker.py kafka TOPIC` is a cluster, librdkafka's own for tests.
"""

import asyncio
import sys

GROUP = "postmeter"


def answer(text: object) -> None:
    print(text, flush=True)


async def of_nats(url: str, subject: str) -> None:
    import nats

    client = await nats.connect(url)
    stream = client.jetstream()
    await stream.add_stream(name="statuses", subjects=[subject])
    answer(url)
    while line := await asyncio.to_thread(sys.stdin.readline):
        command, _, rest = line.strip().partition(" ")
        if command == "publish":
            for message in open(rest, "rb").read().splitlines():
                await stream.publish(subject, message)
            answer("published")
        else:
            info = await stream.consumer_info("statuses", GROUP)
            answer(info.ack_floor.stream_seq)


def of_kafka(topic: str) -> None:
    from confluent_kafka import Consumer, Producer, TopicPartition

    cluster = Producer({"test.mock.num.brokers": 1})
    address = next(iter(cluster.list_topics(timeout=30).brokers.values()))
    bootstrap = f"{address.host}:{address.port}"
    answer(bootstrap)
    while line := sys.stdin.readline():
        command, _, rest = line.strip().partition(" ")
        if command == "publish":
            for message in open(rest, "rb").read().splitlines():
                cluster.produce(topic, message, partition=0)
            cluster.flush()
            answer("published")
        else:
            asking = Consumer({"bootstrap.servers": bootstrap, "group.id": GROUP})
            offset = asking.committed([TopicPartition(topic, 0)], timeout=30)[0].offset
            asking.close()
            answer(max(offset, 0))


if sys.argv[1] == "nats":
    asyncio.run(of_nats(sys.argv[2], sys.argv[3]))
else:
    of_kafka(sys.argv[2])
