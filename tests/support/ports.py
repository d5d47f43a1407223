"""Loopback ports for servers that tests start."""
import random
import socket


def free_port():
    """A loopback port that is free and below the range the kernel gives to clients, so that it stays free until it is used."""
    for _ in range(1000):
        port = random.randrange(20000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port")
