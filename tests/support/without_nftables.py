#!/usr/bin/env python3
"""Runs a command on a kernel that seems to have no nf_tables: socket(AF_NETLINK, ..., NETLINK_NETFILTER) fails with EPROTONOSUPPORT.

    without_nftables.py COMMAND ARGUMENT..."""
import ctypes
import os
import platform
import struct
import sys

SOCKET = {"x86_64": 41, "aarch64": 198}[platform.machine()]
AF_NETLINK, NETLINK_NETFILTER, EPROTONOSUPPORT = 16, 12, 93
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


def instruction(code, k, yes=0, no=0):
    return struct.pack("HBBI", code, yes, no, k)


program = b"".join([instruction(LOAD, 0), instruction(EQUAL, SOCKET, 0, 5),           # seccomp_data.nr
                    instruction(LOAD, 16), instruction(EQUAL, AF_NETLINK, 0, 3),      # args[0]
                    instruction(LOAD, 32), instruction(EQUAL, NETLINK_NETFILTER, 0, 1),  # args[2]
                    instruction(RETURN, ERRNO | EPROTONOSUPPORT), instruction(RETURN, ALLOW)])
buffer = ctypes.create_string_buffer(program, len(program))
filter_ = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, filter_, 0, 0):  # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP
    sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
os.execvp(sys.argv[1], sys.argv[1:])
