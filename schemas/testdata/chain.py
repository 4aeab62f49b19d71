"""Reads chain.json by the reader's rule of tidemark.proto, and shows how short
a reader in another language is. Needs the package xxhash."""

import json
import pathlib
import xxhash

SUFFIX = bytes([0xF2, 0x01, 16])  # tag and length of `chain`, the last field


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(canonical):
    found, at = {}, 0
    while at < len(canonical):
        tag, at = varint(canonical, at)
        value, at = varint(canonical, at)
        if tag & 7 == 2:
            value, at = canonical[at:at + value], at + value
        elif value >= 1 << 63:
            value -= 1 << 64
        found[tag >> 3] = value
    return found


def main():
    log = json.loads(pathlib.Path(__file__).with_name("chain.json").read_text())
    position, chain = -1, bytes(16)
    for rec in log["records"]:
        record = bytes.fromhex(rec["record"])
        canonical, end = record[:-19], record[-19:]
        assert end[:3] == SUFFIX, rec["about"]
        f = fields(canonical)
        oplog_id, prev = f.get(12, 0), f.get(14, 0)
        if prev < position:
            verdict = "repeat"
        elif prev > position:
            verdict = "orphan"
        elif oplog_id == 0:
            verdict = "marker"
        else:
            verdict = "accept"
            position, chain = f[13], xxhash.xxh3_128_digest(chain + canonical)
            assert chain == end[3:], "the log is damaged: " + rec["about"]
        got = (verdict, position, chain.hex())
        assert got == (rec["verdict"], rec["position"], rec["chain"]), (rec["about"], got)
    print(len(log["records"]), "records read as they should be")


if __name__ == "__main__":
    main()
