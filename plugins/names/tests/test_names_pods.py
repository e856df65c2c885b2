"""What a pod belongs to."""

from __future__ import annotations

import pytest

from rover_plugin_names.pods import Owner, owner_of

NONE: dict[str, str] = {}
OF_STATEFUL_SET = {"statefulset.kubernetes.io/pod-name": "db-0", "controller-revision-hash": "db-5f7d"}


@pytest.mark.parametrize(
    ("pod", "labels", "owner"),
    [
        # By the form of the name.
        ("shop-6d4b75cb6d-x7k2p", NONE, Owner("deployment", "shop")),
        ("node-exporter-4jx9w", NONE, Owner("", "node-exporter")),
        ("postgres-0", NONE, Owner("", "postgres")),
        ("shop-redis", NONE, Owner("", "shop-redis")),
        ("web", NONE, Owner("", "web")),
        ("", NONE, Owner()),
        ("backup-29012345-x7k2p", NONE, Owner("job", "backup-29012345", "backup")),
        # By what its controller says.
        ("shop-6d4b75cb6d-x7k2p", {"pod-template-hash": "6d4b75cb6d"}, Owner("deployment", "shop")),
        ("a-6d4b7-b-6d4b7-x7k2p", {"pod-template-hash": "6d4b7"}, Owner("deployment", "a-6d4b7-b")),
        ("shop", {"pod-template-hash": "6d4b75cb6d"}, Owner("", "shop")),
        ("db-0", OF_STATEFUL_SET, Owner("statefulset", "db")),
        ("node-exporter-4jx9w", {"controller-revision-hash": "5f7d"}, Owner("daemonset", "node-exporter")),
        ("load-4jx9w", {"job-name": "load"}, Owner("job", "load")),
        ("load-4jx9w", {"batch.kubernetes.io/job-name": "load"}, Owner("job", "load")),
        ("load-3-4jx9w", {"job-name": "load"}, Owner("job", "load")),  # of an indexed job
        ("b-29012345-x7k2p", {"job-name": "b-29012345"}, Owner("job", "b-29012345", "b")),
        ("other-4jx9w", {"job-name": "load"}, Owner("", "other")),
        ("shop-6d4b75cb6d-x7k2p", {"pod-template-hash": ""}, Owner("deployment", "shop")),
    ],
)
def test_the_owner_of_a_pod(pod: str, labels: dict[str, str], owner: Owner) -> None:
    assert owner_of(pod, labels) == owner


@pytest.mark.parametrize(
    ("one", "other", "workload"),
    [
        ("shop-6d4b75cb6d-x7k2p", "shop-7f9cbb6d5d-q2w4x", "shop"),
        ("postgres-0", "postgres-11", "postgres"),
        ("backup-29012345-x7k2p", "backup-29012346-bcdfg", "backup"),
    ],
)
def test_what_stays_the_same_from_pod_to_pod(one: str, other: str, workload: str) -> None:
    assert owner_of(one, {}).workload == owner_of(other, {}).workload == workload
