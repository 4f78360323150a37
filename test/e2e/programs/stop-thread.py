"""Stops one thread of another process, as a debugger does, until this program is ended: nothing in
that process can make the thread go on, so it hangs for real. Argument: the thread's id. Linux,
ptrace(2); on every architecture of ours the requests have these numbers."""

import ctypes
import os
import sys

PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
__WALL = 0x40000000  # a thread is not a child

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(request, thread):
    if libc.ptrace(request, thread, None, None) < 0:
        sys.exit("ptrace: " + os.strerror(ctypes.get_errno()))


thread = int(sys.argv[1])
ptrace(PTRACE_SEIZE, thread)
ptrace(PTRACE_INTERRUPT, thread)
os.waitpid(thread, __WALL)
print("stopped", flush=True)
# The kernel lets the thread go when this process ends. One that dies while it is stopped must be
# waited for, or its process never goes away.
os.waitpid(thread, __WALL)
