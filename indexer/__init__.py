"""A media file becomes segments and tokens: decode, sample, encode, segment, store."""
