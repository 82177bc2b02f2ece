"""Ports that are free, and stay so until they are taken (bug class: a server whose port an outgoing connection got)."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agents import ports


def test_ports_differ_can_be_taken_and_are_none_of_those_that_the_kernel_hands_out() -> None:
    first, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    found = ports.free_ports(20)
    assert len(set(found)) == 20 and all(1024 < port < first for port in found)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", found[0]))


def test_a_port_that_is_taken_is_left_out_and_none_left_is_an_error() -> None:
    with socket.socket() as taken:
        port = ports.free_port()
        taken.bind(("127.0.0.1", port))
        with pytest.raises(OSError, match="no 1 free ports"):
            ports.free_port(range(port, port + 1))


def test_a_port_that_was_told_once_is_not_told_again_while_there_are_others() -> None:
    """Bug class this catches: two parts of one platform that chose the same port before either had opened it."""
    first = ports.free_ports(1000)
    assert set(first) & set(ports.free_ports(1000)) == set()
    assert set(ports.free_ports(1000, among=first)) == set(first)


def test_a_port_that_is_chosen_already_but_not_open_yet_is_no_free_one() -> None:
    three = ports.free_ports(3)
    assert ports.free_ports(1, among=three, besides=three[1:]) == three[:1]
    with pytest.raises(OSError, match="no 2 free ports"):
        ports.free_ports(2, among=three, besides=three[1:])
