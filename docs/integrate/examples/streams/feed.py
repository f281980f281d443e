"""Hands messages of a stream to Postmeter, and says what became of each."""

import json
import os
import sys
import time
import urllib.error
import urllib.request

URL = os.environ["POSTMETER_URL"] + "/v1/request-statuses/batch"
HEADERS = {
    "Authorization": "Bearer " + os.environ["POSTMETER_TOKEN"],
    "Content-Type": "application/x-ndjson",
}


def record(messages: list[bytes]) -> None:
    """Returns when Postmeter has answered for every message: only then may the stream forget them."""
    # a message is a line: line ends within JSON are white space, and an empty message must not vanish
    lines = [message.replace(b"\n", b" ").strip() or b"null" for message in messages]
    while True:
        try:
            request = urllib.request.Request(URL, b"\n".join(lines), HEADERS)
            with urllib.request.urlopen(request, timeout=60) as answer:  # 202 or 207
                items = json.load(answer)["items"]
            break
        except urllib.error.HTTPError as error:
            if error.code not in (408, 429, 500, 502, 503, 504):
                raise  # a wrong token or address: a person must look, and nothing is forgotten
            wait = int(error.headers.get("Retry-After") or 1)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            wait = 1
        print("no answer from Postmeter, again in", wait, "s", file=sys.stderr, flush=True)
        time.sleep(wait)
    assert len(items) == len(lines)
    for item, line in zip(items, lines):
        # the same again would be refused again: Postmeter counts it (postmeter request-refusals), and the stream goes on
        if item["verdict"] == "refused":
            print("refused:", item.get("field"), item["message"], line[:200], file=sys.stderr, flush=True)
