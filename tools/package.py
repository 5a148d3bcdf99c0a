"""The deployment package: a zip with the function's binary in it, called `bootstrap`.

Also a command: `package.py BINARY ZIP`. Needs nothing but Python.
"""

import sys
import zipfile
from pathlib import Path

EXECUTABLE = 0o100755 << 16  # a regular file that everyone may run
# A zip of the same binary is the same, byte by byte, whenever it is made.
TIMESTAMP = (1980, 1, 1, 0, 0, 0)


def write_zip(binary: Path, target: Path, compression: int = zipfile.ZIP_DEFLATED) -> None:
    """Write `binary` into the zip file `target`, as Lambda wants it."""
    entry = zipfile.ZipInfo("bootstrap", TIMESTAMP)
    entry.create_system = 3  # Unix, or the permission bits below are ignored
    entry.external_attr = EXECUTABLE
    entry.compress_type = compression
    with zipfile.ZipFile(target, "w") as package:
        package.writestr(entry, binary.read_bytes())


def main() -> None:
    """Zip the binary named first into the file named second, and print the sizes."""
    binary, target = Path(sys.argv[1]), Path(sys.argv[2])
    target.parent.mkdir(parents=True, exist_ok=True)
    write_zip(binary, target)
    print(f"{binary}: {megabytes(binary)}, {target}: {megabytes(target)}")


def megabytes(file: Path) -> str:
    """The size of a file, for people."""
    return f"{file.stat().st_size / 1_000_000:.1f} MB"


if __name__ == "__main__":
    main()
