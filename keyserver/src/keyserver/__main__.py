"""`python -m keyserver` is the command `keyserver`."""

import sys

from keyserver.cli import main

sys.exit(main())
