"""``python -m yinxin.command``: the command line without its script."""

import sys

from yinxin.command import main

sys.exit(main())
