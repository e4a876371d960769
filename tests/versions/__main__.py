"""Write down the numbers of new versions: ``python -m tests.versions``. Those of known versions stay."""

import sys

from tests.versions.golden import FILE, write

if __name__ == "__main__":
    complaints = write()
    print(f"{FILE} is up to date" if not complaints else "\n".join(complaints))
    sys.exit(1 if complaints else 0)
