#!/usr/bin/env bash
# Sends a signed request with curl and openssl.
#   TIDEMARK_API_KEY=... sign.sh http://127.0.0.1:8080 demo_APP1 '{"bizType":"UCHAT",...}' [single|global]
set -euo pipefail
url=$1 instance=$2 body=$3 kind=${4:-single}

hmac() { # key in hexadecimal; reads the text
  openssl dgst -sha256 -mac HMAC -macopt "hexkey:$1" -r | cut -d' ' -f1
}
hex() { od -An -v -tx1 | tr -d ' \n'; }

key=$(printf %s 'tidemark request signature v1' | hmac "$(printf %s "$TIDEMARK_API_KEY" | hex)")
id=${TIDEMARK_API_KEY_ID:?the id that was shown with the key, see: tidemark key list}
path="/webapi/sync/$kind?instanceId=$instance"
time=$(date +%s%3N)
sum=$(printf %s "$body" | openssl dgst -sha256 -r | cut -d' ' -f1)
signature=$(printf 'tidemark-v1\nPOST\n%s\n%s\n%s\n%s' "$path" "$time" "$sum" "$id" | hmac "$key")

curl -sS "$url$path" -H 'Content-Type: application/json' \
  -H "Tidemark-Key: $id" -H "Tidemark-Timestamp: $time" -H "Tidemark-Signature: v1=$signature" \
  --data-binary "$body"
