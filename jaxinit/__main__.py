"""``python -m jaxinit``."""

import sys

from jaxinit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
