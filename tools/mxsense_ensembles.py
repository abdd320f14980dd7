"""The generated measurement ensembles of mxsense in numpy: sense your own matrix.

    from mxsense_ensembles import sense
    y = sense(X, "rademacher", m=9000, seed=1)      # y[i] = <A_i, X>, i = 0 .. m-1

Entry (i, p, q) of A is a pure function of (seed, i, p, q): Philox4x32-10 (Salmon, Moraes, Dror, Shaw,
SC 2011) with key (seed low 32 bits, seed high 32 bits) and counter (c low 32 bits, c bits 32..47,
i low 32 bits, i high 32 bits), with j = p * n2 + q:

  rademacher, version 0: c = j div 128; bit b = j mod 128 is bit (b mod 32) of output word (b div 32);
                         the entry is 1 - 2 * bit;
  gaussian, version 0:   c = j div 4; the four output words w give u = (w + 1/2) / 2^32 and, by Box-Muller,
                         entries r cos t, r sin t with r = sqrt(-2 log u0), t = 2 pi u1; then the same of u2, u3.

Rademacher entries here are the program's, exactly; Gaussian ones agree to rounding, since numpy's log, sin
and cos differ from the program's in the last bits.
"""

import numpy as np

VERSION = 0  # of both ensembles; the root attribute ensemble_version of a problem file

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


def philox4x32(key, counter):
    """Philox4x32-10. key: two integers; counter: four 32-bit integers or arrays that broadcast.

    Returns uint32 of shape (..., 4)."""
    c0, c1, c2, c3 = np.broadcast_arrays(*[np.asarray(c, dtype=np.uint64) for c in counter])
    k0, k1 = int(key[0]), int(key[1])
    for _ in range(10):
        product0 = np.uint64(0xD2511F53) * c0
        product1 = np.uint64(0xCD9E8D57) * c2
        c0 = (product1 >> _32) ^ c1 ^ np.uint64(k0)
        c2 = (product0 >> _32) ^ c3 ^ np.uint64(k1)
        c1 = product1 & _LOW
        c3 = product0 & _LOW
        k0 = (k0 + 0x9E3779B9) & 0xFFFFFFFF
        k1 = (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def _words(seed, first, count, per_row):
    """Output words of counters 0 .. per_row-1 of measurements first .. first+count-1: (count, 4 per_row)."""
    i = np.arange(first, first + count, dtype=np.uint64)[:, None]
    c = np.arange(per_row, dtype=np.uint64)[None, :]
    words = philox4x32((seed & 0xFFFFFFFF, seed >> 32), (c & _LOW, c >> _32, i & _LOW, i >> _32))
    return words.reshape(count, 4 * per_row)


def rows(ensemble, seed, shape, first, count):
    """A_first .. A_(first+count-1), flattened: (count, n1 * n2) of int8 (rademacher) or float64 (gaussian)."""
    entries = int(shape[0]) * int(shape[1])
    if ensemble == "rademacher":
        words = _words(seed, first, count, -(-entries // 128)).astype("<u4")
        bits = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")[:, :entries]
        return np.int8(1) - np.int8(2) * bits.view(np.int8)
    if ensemble == "gaussian":
        words = _words(seed, first, count, -(-entries // 4))
        u = (words + 0.5) * 2.0**-32
        radius, angle = np.sqrt(-2.0 * np.log(u[:, 0::2])), 2.0 * np.pi * u[:, 1::2]
        out = np.empty_like(u)
        out[:, 0::2] = radius * np.cos(angle)
        out[:, 1::2] = radius * np.sin(angle)
        return out[:, :entries]
    raise ValueError(f"ensemble '{ensemble}': this module knows rademacher and gaussian")


def sense(X, ensemble, m, seed, first=0, chunk=256):
    """y[i] = <A_(first+i), X> for i = 0 .. m-1, a chunk of measurements at a time."""
    X = np.asarray(X, dtype=np.float64)
    y = np.empty(m)
    for start in range(0, m, chunk):
        count = min(chunk, m - start)
        A = rows(ensemble, seed, X.shape, first + start, count)
        y[start : start + count] = A.astype(np.float64) @ X.ravel()
    return y


if __name__ == "__main__":
    # Known answer of the authors' test vectors: Philox4x32-10 with zero key and counter.
    words = philox4x32((0, 0), (0, 0, 0, 0))
    assert [f"{w:08x}" for w in words] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"], words
    print("philox4x32-10: known answer reproduced")
