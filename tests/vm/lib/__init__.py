# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of this directory share.  A file is a noun; tests see all of them as lib.NAME."""
from .allocations import *
from .applications import *
from .bpf import *
from .certificates import *
from .clients import *
from .document import *
from .genl import *
from .harness import *
from .hello import *
from .host import *
from .http2 import *
from .kernel_log import *
from .life import *
from .memory import *
from .namespace import *
from .nic import *
from .objects import *
from .pair import *
from .product import *
from .ring import *
from .scan import *
from .seal import *
from .syscalls import *
from .tool import *
from .wire import *
