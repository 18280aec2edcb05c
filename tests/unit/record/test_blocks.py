"""Hashes of the beginnings of prompts: what is shared can be measured, and no text can be read."""

from __future__ import annotations

import itertools

from ingest.record.blocks import POSITIONS, hash_blocks

SALT = b"salt"


def hashes(data: bytes, salt: bytes = SALT) -> list[str]:
    found = hash_blocks(salt, data)
    assert found is not None
    return [found[begin : begin + 8] for begin in range(8, len(found), 8)]


def test_positions_grow_by_an_eighth_of_each_doubling() -> None:
    assert POSITIONS[:10] == (4096, 4608, 5120, 5632, 6144, 6656, 7168, 7680, 8192, 9216)
    assert all(after <= before * 9 / 8 for before, after in itertools.pairwise(POSITIONS))


def test_a_prompt_too_short_to_be_cached_has_none_and_a_long_one_few() -> None:
    assert hash_blocks(SALT, b"x" * 4095) is None
    assert len(hashes(b"x" * 4096)) == 1
    assert len(hashes(b"x" * 8000)) == 8  # 2,000 tokens: 36 bytes with the size
    assert len(hashes(b"x" * 512_000)) == 56  # 128,000 tokens
    assert len(hashes(b"x" * 4_000_000)) == 63


def test_two_prompts_share_as_many_hashes_as_they_share_bytes() -> None:
    one, other = hashes(b"a" * 6000 + b"b" * 6000), hashes(b"a" * 6000 + b"c" * 9000)
    same = [left == right for left, right in zip(one, other, strict=False)]
    assert same == [position <= 6000 for position in POSITIONS[: len(same)]]


def test_the_size_comes_first_and_another_salt_tells_nothing() -> None:
    data = b"a" * 5000
    whole = hash_blocks(SALT, data)
    assert whole is not None
    assert int(whole[:8], 16) == 5000
    assert not set(hashes(data)) & set(hashes(data, b"other"))
