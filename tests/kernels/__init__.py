"""rover on other kernels: Debian's, booted in qemu. `make test-kernels`."""
