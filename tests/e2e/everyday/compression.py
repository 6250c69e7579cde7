import bz2, gzip, lzma, zlib
data = b'flash' * 1000
print([m.decompress(m.compress(data)) == data for m in (bz2, gzip, lzma, zlib)])
