"""The generated measurement ensembles of mxsense in numpy: sense your own matrix.

    from mxsense_ensembles import sense
    y = sense(X, "rademacher", m=9000, seed=1)      # y[i] = <A_i, X>, i = 0 .. m-1

Entry j = p * n2 + q of A_i is a pure function of (seed, i, j): version 1, the same bits here and in the program.

Words. Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011) with key (seed low 32 bits, seed high 32 bits) and
counter (c low 32 bits, c bits 32..47 + 65536 * stream, i low 32 bits, i high 32 bits) gives four 32-bit words.
The 64-bit words of row i of a stream, w = 0, 1, ...: lane l = w mod 8 of chunk c = w div 512 is a generator
xoshiro256++ (Blackman and Vigna, ACM TOMS 47, 2021) and word w its output number (w mod 512) div 8; its four
state words are the Philox words of counters 16 c + 2 l and 16 c + 2 l + 1, low half first.

  rademacher  1 - 2 bit, bit j mod 64 of word j div 64 of row i of stream 0;
  gaussian8   T[v & 127] * (-1 if v & 128 else 1) / sqrt(mean(T^2)), v = byte j of the words of row i of stream 0,
              little endian, T[u] = rint(44 Q(1/2 + (u + 1/2) / 256)), Q the quantile of N(0, 1): 256 levels;
  gaussian    word 8 s + l of row i of stream 0 gives u0 = (low half + 1/2) / 2^32, u1 = (high half + 1/2) / 2^32 and,
              with r = sqrt(-2 log u0) and t = 2 pi u1, entries 16 s + l = r cos t and 16 s + 8 + l = r sin t; the
              polynomials of `normals` below in place of log, cos and sin, right to 1e-11 r;
  fast        D_b[j] H[pi_b(t)][j], b = i div block_rows, t = i mod block_rows: H[s][j] = (-1)^popcount(s & j) of order
              L = 2^p >= n1 n2, D_b as rademacher of row b of stream 4, pi_b the permutation of `places` below.
"""

from statistics import NormalDist

import numpy as np

VERSION = 1  # the root attribute ensemble_version of a problem file

ENSEMBLES = ("rademacher", "gaussian8", "gaussian", "fast")
STREAM_ENSEMBLE, STREAM_FAST_SIGNS, STREAM_FAST_ROWS = 0, 4, 5

_U = np.uint64
_LOW, _32 = _U(0xFFFFFFFF), _U(32)


def philox4x32(key, counter):
    """Philox4x32-10. key: two integers; counter: four 32-bit integers or arrays that broadcast.

    Returns uint32 of shape (..., 4)."""
    c0, c1, c2, c3 = np.broadcast_arrays(*[np.asarray(c, dtype=np.uint64) for c in counter])
    k0, k1 = int(key[0]), int(key[1])
    for _ in range(10):
        product0 = _U(0xD2511F53) * c0
        product1 = _U(0xCD9E8D57) * c2
        c0 = (product1 >> _32) ^ c1 ^ _U(k0)
        c2 = (product0 >> _32) ^ c3 ^ _U(k1)
        c1 = product1 & _LOW
        c3 = product0 & _LOW
        k0 = (k0 + 0x9E3779B9) & 0xFFFFFFFF
        k1 = (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def _counters(seed, stream, i, c):
    """Philox words of counters c of rows i: two unsigned 64-bit numbers each, low half first."""
    key = (seed & 0xFFFFFFFF, seed >> 32)
    words = philox4x32(key, (c & _LOW, (c >> _32) & _U(0xFFFF) | _U(stream << 16), i & _LOW, i >> _32))
    return words[..., 0::2].astype(np.uint64) | words[..., 1::2].astype(np.uint64) << _32


def stream_words(seed, stream, first, count, words):
    """The first `words` 64-bit words of rows first .. first + count - 1: (count, words)."""
    chunks = -(-words // 512)
    i = np.arange(count, dtype=np.uint64)[:, None] + _U(first)
    counters = _counters(seed, stream, i, np.arange(16 * chunks, dtype=np.uint64)[None, :])
    s = [np.ascontiguousarray(word) for word in np.moveaxis(counters.reshape(count, chunks, 8, 4), -1, 0)]

    def rotate(v, by):
        return v << _U(by) | v >> _U(64 - by)

    steps = 64 if chunks > 1 else -(-words // 8)
    out = np.empty((count, chunks, steps, 8), dtype=np.uint64)
    for step in range(steps):
        out[:, :, step] = rotate(s[0] + s[3], 23) + s[0]
        t = s[1] << _U(17)
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotate(s[3], 45)
    return out.reshape(count, -1)[:, :words]


def _bytes(words):
    return np.ascontiguousarray(words.astype("<u8")).view(np.uint8)


def _signs(words, entries):
    bits = np.unpackbits(_bytes(words), axis=-1, bitorder="little")[..., :entries]
    return np.int8(1) - np.int8(2) * bits.view(np.int8)


LEVELS = np.rint([44 * NormalDist().inv_cdf(0.5 + (u + 0.5) / 256) for u in range(128)])


def normals(words):
    """N(0, 1) numbers of words, (..., 8 s) to (..., 16 s): the operations of the program, in its order."""
    v = (words & _LOW).astype(np.float64) + 0.5
    root = np.float64(float.fromhex("0x1.6a09e667f3bcdp-1"))
    f, e = np.frexp(v)  # v = f 2^e, 1/2 <= f < 1
    small = f < root
    f = np.where(small, 2.0 * f, f) - 1.0
    e = e - small - 32.0

    def c(text):
        return [np.float64(float.fromhex(number)) for number in text.split()]

    f2 = f * f
    f4 = f2 * f2
    a = c("-0x1.ffffffffe11efp+0 0x1.0000000286ad2p+0 -0x1.55555601334fdp-1 0x1.fffff80e4a5e5p-2 -0x1.9998fa1334745p-2 "
          "0x1.5556c8b6e8f44p-2 -0x1.24adedf713885p-2 0x1.ffe5a27a6c40ap-3 -0x1.c2c4ab8aa03dap-3 0x1.967097e18d3a6p-3 "
          "-0x1.9af5ade24e7a4p-3 0x1.958a384be41dfp-3 -0x1.b7549293fe720p-4")
    pair = [a[k + 1] * f + a[k] for k in range(0, 12, 2)]
    high = (pair[5] + a[12] * f2) * f4 + (pair[4] * f2 + pair[3])
    factor = (high * f4 + (pair[2] * f2 + pair[1])) * f2 + pair[0]
    r = np.sqrt(f * factor - e * np.float64(float.fromhex("0x1.62e42fefa39efp+0")))

    r = np.where(words >> _U(63) == 1, -r, r)
    y = 1.0 - ((words >> _32 & _U(0x7FFFFFFF)).astype(np.float64) + 0.5) * 2.0**-30
    z = y * y
    z2 = z * z

    def even(a):
        pair = [a[k + 1] * z + a[k] for k in (1, 3, 5)]
        return ((pair[2] * z2 + pair[1]) * z2 + pair[0]) * z + a[0]

    sine = y * even(c("0x1.921fb54442b5fp+0 -0x1.4abbce6247ec4p-1 0x1.466bc66dc7d8dp-4 -0x1.32d2c96c611a1p-8 "
                      "0x1.5076fe9f637eep-13 -0x1.e297cfd3f35d9p-19 0x1.d4ec6979e0e01p-25"))
    cosine = even(c("0x1.fffffffffe5adp-1 -0x1.3bd3cc9b93a17p+0 0x1.03c1f06d7e71bp-2 -0x1.55d3c04b70149p-6 "
                    "0x1.e1f24e5b7bc1ep-11 -0x1.a651cf200e7dap-16 0x1.e259c6c7fa0fep-22"))
    steps = words.shape[:-1] + (words.shape[-1] // 8, 8)
    both = np.stack([(r * sine).reshape(steps), (r * cosine).reshape(steps)], axis=-2)
    return both.reshape(words.shape[:-1] + (-1,))


def order(entries):
    """p of the order L = 2^p of the Hadamard matrix."""
    return (entries - 1).bit_length()


def places(seed, block, p, count):
    """pi_block(t) for t = 0 .. count - 1: eight rounds of x ^= x >> s, x = x * mul + add mod 2^p."""
    keys = _counters(seed, STREAM_FAST_ROWS, _U(block), np.arange(8, dtype=np.uint64))
    x, mask = np.arange(count, dtype=np.uint64), _U(2**p - 1)
    for mul, add in keys:
        x ^= x >> _U((p + 1) // 2)
        x = (x * (mul | _U(1)) + add) & mask
    return x


def _fast_signs(seed, block, entries):
    return _signs(stream_words(seed, STREAM_FAST_SIGNS, block, 1, -(-entries // 64)), entries)[0]


def _fast_parts(first, count, block_rows):
    """Ranges of rows (block, from, to within the block) that make up first .. first + count - 1."""
    while count > 0:
        block, at = divmod(first, block_rows)
        n = min(count, block_rows - at)
        yield block, at, at + n
        first, count = first + n, count - n


def _fast_rows(seed, entries, first, count, block_rows):
    out = []
    j = np.arange(entries, dtype=np.uint64)
    for block, at, to in _fast_parts(first, count, block_rows):
        x = places(seed, block, order(entries), to)[at:, None] & j
        for shift in (32, 16, 8, 4, 2, 1):
            x ^= x >> _U(shift)
        hadamard = np.int8(1) - np.int8(2) * (x & _U(1)).astype(np.int8)
        out.append(hadamard * _fast_signs(seed, block, entries))
    return np.concatenate(out) if out else np.empty((0, entries), np.int8)


def _hadamard(x):
    """H x, the length of x a power of two."""
    half = 1
    while half < x.size:
        x = x.reshape(-1, 2, half)
        x = np.stack([x[:, 0] + x[:, 1], x[:, 0] - x[:, 1]], axis=1)
        half *= 2
    return x.ravel()


def rows(ensemble, seed, shape, first, count, block_rows=None):
    """A_first .. A_(first+count-1), flattened: (count, n1 * n2), int8 for rademacher and fast, else float64.

    block_rows: of fast only, the attribute of the problem file."""
    entries = int(shape[0]) * int(shape[1])
    if ensemble == "rademacher":
        return _signs(stream_words(seed, STREAM_ENSEMBLE, first, count, -(-entries // 64)), entries)
    if ensemble == "gaussian8":
        v = _bytes(stream_words(seed, STREAM_ENSEMBLE, first, count, -(-entries // 8)))[:, :entries]
        return np.concatenate([LEVELS, -LEVELS])[v] * (1 / np.sqrt(np.mean(LEVELS**2)))
    if ensemble == "gaussian":
        return normals(stream_words(seed, STREAM_ENSEMBLE, first, count, 8 * -(-entries // 16)))[:, :entries]
    if ensemble == "fast":
        return _fast_rows(seed, entries, first, count, block_rows)
    raise ValueError(f"ensemble '{ensemble}': this module knows {', '.join(ENSEMBLES)}")


def sense(X, ensemble, m, seed, first=0, chunk=256, block_rows=None):
    """y[i] = <A_(first+i), X> for i = 0 .. m-1, a chunk of measurements at a time."""
    X = np.asarray(X, dtype=np.float64)
    y = np.empty(m)
    if ensemble == "fast":
        done, p = 0, order(X.size)
        for block, at, to in _fast_parts(first, m, block_rows):
            padded = np.zeros(2**p)
            padded[: X.size] = X.ravel() * _fast_signs(seed, block, X.size)
            y[done : done + to - at] = _hadamard(padded)[places(seed, block, p, to)[at:]]
            done += to - at
        return y
    for start in range(0, m, chunk):
        count = min(chunk, m - start)
        y[start : start + count] = rows(ensemble, seed, X.shape, first + start, count).astype(np.float64) @ X.ravel()
    return y


if __name__ == "__main__":
    # Known answer of the authors' test vectors: Philox4x32-10 with zero key and counter.
    known = philox4x32((0, 0), (0, 0, 0, 0))
    assert [f"{w:08x}" for w in known] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"], known
    print("philox4x32-10: known answer reproduced")
    for name in ENSEMBLES:
        A, x = rows(name, 1, (30, 40), 5, 70, block_rows=32), np.arange(1200.0).reshape(30, 40) / 1200
        assert np.allclose(A @ x.ravel(), sense(x, name, 70, 1, first=5, block_rows=32)), name
        print(f"{name}: first entries of measurement 5: {A[0, :4]}")
