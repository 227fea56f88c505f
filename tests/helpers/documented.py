"""Where the docs' numbers can be compared digit by digit: they were made with portable arithmetic."""

import pytest

from rrl.arithmetic import has_avx2

exact = pytest.mark.skipif(
    not has_avx2(), reason="numbers differ from the docs' on machines that are not Linux on x86-64 with AVX2"
)
