#!/usr/bin/env python3
"""Sends a signed request; standard library only.

TIDEMARK_API_KEY=... TIDEMARK_API_KEY_ID=... sign.py http://127.0.0.1:8080 demo_APP1 '{"bizType":"UCHAT",...}' [single|global]
"""
import hashlib
import hmac
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request


def sign(api_key: str, key_id: str, method: str, path: str, timestamp: str, body: bytes) -> str:
    key = hmac.new(api_key.encode(), b"tidemark request signature v1", hashlib.sha256).digest()
    text = "\n".join(["tidemark-v1", method, path, timestamp, hashlib.sha256(body).hexdigest(), key_id])
    return "v1=" + hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def main() -> None:
    url, instance, body = sys.argv[1], sys.argv[2], sys.argv[3].encode()
    kind = sys.argv[4] if len(sys.argv) > 4 else "single"
    api_key, key_id = os.environ["TIDEMARK_API_KEY"], os.environ["TIDEMARK_API_KEY_ID"]
    path = f"/webapi/sync/{kind}?instanceId={urllib.parse.quote(instance)}"
    timestamp = str(time.time_ns() // 1_000_000)
    request = urllib.request.Request(url + path, data=body, method="POST", headers={
        "Content-Type": "application/json",
        "Tidemark-Key": key_id,
        "Tidemark-Timestamp": timestamp,
        "Tidemark-Signature": sign(api_key, key_id, "POST", path, timestamp, body),
    })
    try:
        with urllib.request.urlopen(request, timeout=15) as response:
            print(response.read().decode())
    except urllib.error.HTTPError as refused:
        sys.exit(f"{refused.code}: {refused.headers.get('Tidemark-Reason')}")


if __name__ == "__main__":
    main()
