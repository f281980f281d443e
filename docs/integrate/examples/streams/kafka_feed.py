"""From a Kafka topic: offsets are committed after Postmeter has answered for what lies before them."""

import os

from confluent_kafka import Consumer, KafkaException

from feed import record

consumer = Consumer({
    "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP"],
    "group.id": "postmeter",
    "enable.auto.commit": False,  # a timer would commit what nobody has answered for
    "session.timeout.ms": int(os.environ.get("SESSION_TIMEOUT_MS", "45000")),  # then another takes over from the dead
    "auto.offset.reset": "earliest",  # a new group begins with what is there, not with what comes
})
consumer.subscribe([os.environ["KAFKA_TOPIC"]])
try:
    while True:
        messages = consumer.consume(500, timeout=0.5)
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
        if messages:
            record([message.value() or b"" for message in messages])
            consumer.commit(asynchronous=False)
finally:
    consumer.close()
