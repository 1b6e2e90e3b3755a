"""The demo does what it says."""

import sys

from workbench import run


def test_the_demo_multiplies_with_the_providers_library() -> None:
    done = run([sys.executable, "-m", "extlib_repair", "demo"])

    assert done.code == 0, done.err
    assert "Successfully installed extlib-demo-1.0 extlib-demo-matrix-1.0" in done.err
    assert "(1 2; 3 4) x (5 6; 7 8) = [19.0, 22.0, 43.0, 50.0]" in done.err
    assert "/site-packages/extlib_demo_matrix/lib/libdemo_matrix.so\n" in done.err
    sizes = [int(line.split(": ")[1].split()[0]) for line in done.err.splitlines()[-2:]]
    assert sizes[1] < sizes[0]
