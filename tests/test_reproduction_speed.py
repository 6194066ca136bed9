"""README's table of speed: from the records of one run, each peer by its fastest way."""

from __future__ import annotations

from weightspace.bench.reproduction.speed import beside_peers, made_on


def record(peer: str, seconds: float, operation: str = "jvp") -> dict:
    machine = {
        "cpu": "EPYC",
        "cores": 2,
        "versions": {"torch": "2.1", "jax": "0.4"},
        "commit": "c" * 40,
    }
    return {"kind": "step", "operation": operation, "size": "784-256-10x128", "peer": peer,
            "median": seconds, "machine": machine,
            "date": "2026-01-02T00:00:00"}  # fmt: skip


def test_each_peer_stands_with_its_fastest_and_the_least_is_bold():
    text = beside_peers([
        record("weightspace", 2e-3), record("torch-eager", 5e-3), record("torch-compile", 3e-3),
        record("jax", 1.5e-3), record("weightspace", 1e-3, "mas"), record("backpack", 4e-3, "mas"),
    ])  # fmt: skip
    jvp, mas = text.splitlines()[2:]
    assert jvp == "| JVP | 784-256-10, 128 | 2 ms | 3 ms | **1.5 ms** |  |"
    assert mas == "| MAS | 784-256-10, 128 | **1 ms** |  |  | 4 ms |"


def test_the_machine_is_told_with_versions_and_commit():
    told = made_on([record("weightspace", 1.0), record("jax", 1.0)])
    assert told == "2 cores of an EPYC, torch 2.1, jax 0.4; commit ccccccc, 2026-01-02"
