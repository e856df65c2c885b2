# cython: language_level=3
# Which layouts this package was compiled with: `rover.abi` compares.

from rover._abi cimport NUMBER

ABI = NUMBER
