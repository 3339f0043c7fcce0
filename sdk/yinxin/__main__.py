"""``python -m yinxin``: the command line."""

import sys

from yinxin.command import main

sys.exit(main())
